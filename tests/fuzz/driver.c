/*
 * Runs a fuzz target on the files given as arguments, and on every truncation of each: the seed corpus as a test,
 * with any compiler. The input is copied to a buffer of its exact size, so that sanitizers see reads past the end.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX (1024 * 1024)
/* Truncations of longer inputs say nothing new, and cost the square of the length. */
#define TRUNCATE_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void run(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy)
        abort();
    if (len)
        memcpy(copy, data, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static int run_file(const char *path)
{
    static uint8_t data[INPUT_MAX];
    FILE *in = fopen(path, "rb");
    if (!in) {
        perror(path);
        return 1;
    }
    size_t len = fread(data, 1, sizeof(data), in);
    int failed = ferror(in);
    fclose(in);
    if (failed) {
        perror(path);
        return 1;
    }
    for (size_t n = 0; n < len && n < TRUNCATE_MAX; n++)
        run(data, n);
    run(data, len);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= run_file(argv[i]);
    return failed;
}
