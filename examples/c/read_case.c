/* A matmul case in hex (one byte a word, layout nd, int32 result), read and computed:
   cc read_case.c -o read_case && ./read_case FOLDER/shapes/matmul-15x17x60 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *text(const char *folder, const char *name) {
  char path[4096], *data = calloc(1, 1 << 24);
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  if (!file || !data || !fread(data, 1, (1 << 24) - 1, file)) exit(2);
  fclose(file);
  return data;
}

static unsigned char *hex(const char *folder, const char *name) { /* comments, then a byte a line */
  unsigned char *data = calloc(1, 1 << 24), *end = data;
  for (char *line = strtok(text(folder, name), "\n"); line; line = strtok(NULL, "\n"))
    if (line[0] != '/') *end++ = (unsigned char)strtol(line, NULL, 16);
  return data;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  int m, n, k, bad = 0;
  char *sizes = strstr(text(argv[1], "manifest.json"), "\"sizes\": {");
  if (!sizes || sscanf(sizes, "\"sizes\": {\"m\": %d, \"n\": %d, \"k\": %d}", &m, &n, &k) != 3) return 2;
  unsigned char *dense = hex(argv[1], "dense.hex"), *index = hex(argv[1], "index.hex");
  unsigned char *a = hex(argv[1], "activations.hex"), *expected = hex(argv[1], "expected.hex");
  int stored = (k + 7) / 8 * 8; /* a row of dense has stored / 2 bytes, one of index stored / 8 */
  for (int row = 0; row < m; row++)
    for (int column = 0; column < n; column++) {
      int sum = 0, want = 0;
      for (int group = 0; group < (k + 3) / 4; group++)
        for (int slot = 0; slot < 2; slot++) {
          int bits = index[column * stored / 8 + group / 2] >> (group % 2 * 4 + slot * 2) & 3;
          int at = 4 * group + bits + slot;
          int w = (signed char)dense[column * stored / 2 + 2 * group + slot];
          if (at < k) sum += w * (signed char)a[row * k + at];
        }
      for (int byte = 3; byte >= 0; byte--)
        want = (int)((unsigned)want << 8 | expected[4 * (row * n + column) + byte]);
      bad += sum != want;
    }
  printf("%d of %d results differ\n", bad, m * n);
  return bad != 0;
}
