/*
 * From counts and latencies to what plots show. Pins: text that would be markup or a command, a rate of 99.6 % that
 * reads as 100, a curve that does not end at the success rate, a bin that loses the largest value, an axis of nothing.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/campaign/report.h"

/* ---- text ------------------------------------------------------------------------------------ */

static void plain_text_is_plain(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t most;
        const char *plain;
    } cases[] = {
        {"linux-strict@cgn", 30, "linux-strict@cgn"},
        {"it's \"a\" `b` \\c #d", 30, "it_s _a_ _b_ _c _d"},
        {"tab\there\nand\x01there", 30, "tab_here_and_there"},
        {"", 30, "-"},
        {"abcdef", 3, "abc..."},
        {"abc", 3, "abc"},
        {"\xc3\xa4\xc3\xb6\xc3\xbc!", 2, "\xc3\xa4\xc3\xb6..."}, /* never half of a character */
        {"<b>&{x}_y^2$(z)", 30, "<b>&{x}_y^2$(z)"},              /* gnuplot escapes it for SVG */
    };
    char out[64];
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        report_plain(cases[i].text, cases[i].most, out, sizeof(out));
        assert_string_equal(out, cases[i].plain);
    }
    /* A buffer that is too small, and a last character that is cut. */
    char tiny[12];
    report_plain("abcdefghijklmnopqrst", 100, tiny, sizeof(tiny));
    assert_true(strlen(tiny) < sizeof(tiny) && strncmp(tiny, "abc", 3) == 0);
    report_plain("\xf0\x9f", 10, tiny, sizeof(tiny));
    assert_true(strlen(tiny) <= 4);
}

static void file_names_are_harmless(void **state)
{
    (void)state;
    char out[16];
    report_file_part("../a b/\xc3\xa4';x", out, sizeof(out));
    assert_string_equal(out, ".._a_b_____x");
    report_file_part("0123456789abcdefghij", out, sizeof(out));
    assert_int_equal(strlen(out), sizeof(out) - 1);
}

static void html_text_has_no_markup(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len;
    FILE *mem = open_memstream(&text, &len);
    assert_non_null(mem);
    report_html_text(mem, "<a href=\"x\">&amp;'\x01\x7f\n\xc3\xa4");
    fclose(mem);
    assert_string_equal(text, "&lt;a href=&quot;x&quot;&gt;&amp;amp;&#39;\xef\xbf\xbd\xef\xbf\xbd\n\xc3\xa4");
    free(text);
}

static void only_all_of_them_are_100_percent(void **state)
{
    (void)state;
    static const struct {
        uint64_t ok, n;
        const char *text;
    } cases[] = {{0, 20, "0"},  {20, 20, "100"}, {1, 1000, "<1"},    {999, 1000, ">99"}, {37, 100, "37"},
                 {1, 100, "1"}, {99, 100, "99"}, {995, 1000, ">99"}, {1, 1000000, "<1"}, {0, 0, ""}};
    char out[8];
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        report_percent(cases[i].ok, cases[i].n, out);
        assert_string_equal(out, cases[i].text);
    }
}

static void times_fit_their_field(void **state)
{
    (void)state;
    static const struct {
        double ms;
        const char *text;
    } cases[] = {{0.2, "<1"},    {1, "1"},       {61.4, "61"},  {999.4, "999"}, {999.6, "1.0s"},
                 {1234, "1.2s"}, {9949, "9.9s"}, {9951, "10s"}, {60000, "60s"}, {1e12, "99999s"}};
    char out[8];
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        report_ms(cases[i].ms, out);
        assert_string_equal(out, cases[i].text);
    }
}

static void names_keep_their_order(void **state)
{
    (void)state;
    struct report_names names = {0};
    char text[100][8];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(text[i], sizeof(text[i]), "n%u", i);
        assert_int_equal(report_name(&names, text[i]), i);
    }
    assert_int_equal(report_name(&names, "n42"), 42);
    assert_int_equal(names.n, 100);
    report_names_free(&names);
}

/* ---- latencies ------------------------------------------------------------------------------- */

static struct report_sample sample(uint64_t *ns, size_t n, uint64_t trials)
{
    return (struct report_sample){.ns = ns, .n = n, .trials = trials};
}

struct curve {
    double x[2000], y[2000];
    size_t n;
};

static void keep(void *user, double x, double y)
{
    struct curve *c = user;
    assert_true(c->n < BASE_ARRAY_LEN(c->x));
    c->x[c->n] = x;
    c->y[c->n++] = y;
}

static void a_curve_ends_at_the_success_rate(void **state)
{
    (void)state;
    static uint64_t ns[1000];
    for (size_t i = 0; i < 1000; i++)
        ns[i] = 1000 + i;
    struct report_sample s = sample(ns, 1000, 4000);
    struct curve c = {.n = 0};
    report_cdf(&s, 100, keep, &c);
    assert_true(c.n <= 102);
    assert_true(c.x[0] == 1000 && c.x[c.n - 1] == 1999 && c.y[c.n - 1] == 0.25);
    for (size_t i = 1; i < c.n; i++)
        assert_true(c.x[i] >= c.x[i - 1] && c.y[i] >= c.y[i - 1] && c.y[i] - c.y[i - 1] <= 0.25 / 90);
    /* Few: every one of them. */
    struct report_sample few = sample(ns, 3, 3);
    c.n = 0;
    report_cdf(&few, 100, keep, &c);
    assert_true(c.n == 4 && fabs(c.y[0] - 1.0 / 3) < 1e-12 && c.y[3] == 1);
    struct report_sample none = sample(ns, 0, 3);
    c.n = 0;
    report_cdf(&none, 100, keep, &c);
    assert_int_equal(c.n, 0);
}

static void an_axis_holds_all_values(void **state)
{
    (void)state;
    uint64_t one[] = {40000000, 61000000}, other[] = {50000000, 2000000000};
    struct report_sample s[] = {sample(one, 2, 2), sample(other, 2, 2), sample(NULL, 0, 5)};
    struct report_axis a = report_axis(s, 3);
    assert_true(a.lo < 40 && a.lo > 0 && a.hi > 2000 && a.logarithmic);
    a = report_axis(s, 1);
    assert_true(a.lo < 40 && a.lo > 30 && a.hi > 61 && !a.logarithmic);
    uint64_t same[] = {40000000, 40000000};
    s[0] = sample(same, 2, 2);
    a = report_axis(s, 1);
    assert_true(a.lo < 40 && a.hi > 40);
    a = report_axis(&s[2], 1);
    assert_true(a.lo < a.hi);
}

static void bins_lose_no_value(void **state)
{
    (void)state;
    uint64_t ns[] = {1000000, 1000001, 5000000, 999999999, 1000000000};
    struct report_sample s = sample(ns, 5, 10);
    struct report_bin bins[20];
    for (int logarithmic = 0; logarithmic < 2; logarithmic++) {
        struct report_axis axis = {1, 1000, logarithmic};
        double sum = 0;
        report_histogram(&s, &axis, bins, 20);
        for (size_t i = 0; i < 20; i++) {
            sum += bins[i].share;
            assert_true(bins[i].hi > bins[i].lo && (i == 0 || bins[i].lo == bins[i - 1].hi));
        }
        assert_true(fabs(sum - 0.5) < 1e-12);
        /* The largest one is on the last edge. */
        assert_true(bins[19].share >= 0.2 - 1e-12);
    }
}

static bool take_all(const struct report_cell *cell, const void *user)
{
    (void)user;
    return cell->n > 0;
}

static void samples_are_pooled_and_sorted(void **state)
{
    (void)state;
    struct report_set set = {.n = 0};
    for (unsigned i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "c%u", i % 2);
        struct record_view v = {.trial = i,
                                .outcome = i < 6 ? RECORD_OK : RECORD_TIMEOUT,
                                .connect_ns = i < 6 ? 100 - i : 0,
                                .predicted_p = NAN};
        assert_int_equal(report_cell_add(&set, report_cell_get(&set, 0, name), &v, ""), 0);
    }
    report_cell_get(&set, 0, "empty");
    struct report_sample s;
    assert_int_equal(report_sample_make(&set, take_all, NULL, &s), 0);
    assert_true(s.n == 6 && s.trials == 10 && s.ns[0] == 95 && s.ns[5] == 100);
    free(s.ns);
    report_set_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_is_plain),           cmocka_unit_test(file_names_are_harmless),
        cmocka_unit_test(html_text_has_no_markup),       cmocka_unit_test(only_all_of_them_are_100_percent),
        cmocka_unit_test(names_keep_their_order),        cmocka_unit_test(a_curve_ends_at_the_success_rate),
        cmocka_unit_test(an_axis_holds_all_values),      cmocka_unit_test(bins_lose_no_value),
        cmocka_unit_test(samples_are_pooled_and_sorted), cmocka_unit_test(times_fit_their_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
