/* Two histograms that must be the same, value by value. */
#ifndef TESTS_UNIT_HIST_SAME_H
#define TESTS_UNIT_HIST_SAME_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/hist/hist.h"

static inline void assert_same(const struct hist *a, const struct hist *b)
{
    struct hist_iter x = {0}, y = {0};
    assert_true(a->total == b->total);
    while (hist_next(a, &x)) {
        assert_true(hist_next(b, &y));
        assert_true(x.lo == y.lo && x.hi == y.hi && x.count == y.count);
    }
    assert_false(hist_next(b, &y));
}

#endif
