/* replay.c - main() for a fuzz target without a fuzzer: runs it on the files named as arguments.
 *
 * So that every test run replays what fuzzing has found, with any compiler. Input is copied to a
 * block of exactly its size, where the sanitizer sees a read past the end; the empty input always
 * comes first. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *replay_read(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    long end;
    if (f == NULL)
        return NULL;
    if (fseek(f, 0, SEEK_END) == 0 && (end = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0) {
        *size = (size_t)end;
        data = malloc(*size > 0 ? *size : 1);
        if (data != NULL && fread(data, 1, *size, f) != *size) {
            free(data);
            data = NULL;
        }
    }
    fclose(f);
    return data;
}

static void replay_empty(void)
{
    uint8_t *data = calloc(1, 1);
    if (data == NULL)
        return;
    LLVMFuzzerTestOneInput(data + 1, 0);
    free(data);
}

int main(int argc, char **argv)
{
    int i;
    replay_empty();
    for (i = 1; i < argc; i++) {
        size_t size = 0;
        uint8_t *data = replay_read(argv[i], &size);
        if (data == NULL) {
            fprintf(stderr, "cannot read %s\n", argv[i]);
            return 1;
        }
        /* Before the run: the name of the input that a sanitizer stops at is the last line. */
        fprintf(stderr, "%s\n", argv[i]);
        LLVMFuzzerTestOneInput(data, size);
        free(data);
    }
    printf("%d stored inputs\n", argc - 1);
    return 0;
}
