/* Read golden cases (their hex files) with nothing but C99, compute them, and compare the results.

     cc -O2 read_case.c -o read_case && ./read_case CASE...

   Matmul and convolution, layout nd and zn, words of any size, results as int32 or requantised. Exit
   code 1 if a result differs, 2 if a case cannot be read: one whose unit saturates after each Mmad,
   if its manifest is of version 1, which does not tell how K is cut into Mmads, and it is not so
   small that one takes all of it. The manifest is JSON as cube24 writes it: a file a line, so a few
   searches do for a parser. docs/format.md says what an index selects, docs/unit.md how sums are
   kept and what FIXPIPE makes of them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GOOD, DIFFERS, UNREADABLE };

struct array {
  unsigned char *data; /* little-endian, in C order */
  long shape[8], bytes;
  int dims, size, zn; /* dimensions, bytes of an element, whether it is in layout zn */
};

struct unit { /* the rules that a unit may have otherwise */
  int wraps, whole, nothing, table, shift_n, unsigned_offset;
};

enum { CUTS = 4096 };

struct layer { /* rows of the result, columns, and K; a convolution is one too */
  int conv, m, n, k, steps;
  char last[CUTS]; /* of the steps of 64 of K, those behind which a Mmad ends */
  int batch, cin, h, w, ky, kx, sy, sx, top, left, bottom, right, dy, dx, pad, ho, wo;
};

/* --- files ----------------------------------------------------------------------------------- */

static char *text(const char *folder, const char *name) { /* NULL: it cannot be read */
  char path[4096], *data = NULL;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  if (!fseek(file, 0, SEEK_END)) {
    long size = ftell(file);
    rewind(file);
    data = size < 0 ? NULL : calloc((size_t)size + 1, 1);
    if (data && fread(data, 1, (size_t)size, file) != (size_t)size) {
      free(data);
      data = NULL;
    }
  }
  fclose(file);
  return data;
}

/* The value behind a key, from a place on; NULL: there is none before the end of the line. */
static const char *value(const char *from, const char *key) {
  char wanted[64];
  snprintf(wanted, sizeof wanted, "\"%s\": ", key);
  const char *found = from ? strstr(from, wanted) : NULL;
  if (!found || memchr(from, '\n', (size_t)(found - from))) return NULL;
  return found + strlen(wanted);
}

static int is(const char *from, const char *key, const char *word) {
  const char *found = value(from, key);
  return found && !strncmp(found, word, strlen(word));
}

static long number(const char *from, const char *key) { /* 0: there is none */
  const char *found = value(from, key);
  return found ? strtol(found, NULL, 10) : 0;
}

/* Reads the words of a hex file; gives how many bytes there are, or -1. */
static long hex(char *from, unsigned char *data, long most, int word, int big) {
  long bytes = 0;
  for (char *line = strtok(from, "\r\n"); line; line = strtok(NULL, "\r\n")) {
    if (line[0] == '/') continue;
    if ((long)strlen(line) != 2L * word || bytes + word > most) return -1;
    if (strspn(line, "0123456789abcdef") != strlen(line)) return -1;
    for (int i = 0; i < word; i++) {
      char digits[3] = {line[2 * i], line[2 * i + 1], 0};
      data[bytes + (big ? i : word - 1 - i)] = (unsigned char)strtol(digits, NULL, 16);
    }
    bytes += word;
  }
  return bytes;
}

/* Reads the array of a role; gives 0 if there is no hex file of it, -1 if that cannot be read. */
static int load(const char *folder, const char *files, const char *role, struct array *out) {
  char wanted[64], name[300];
  snprintf(wanted, sizeof wanted, "\"role\": \"%s\", \"format\": \"hex\"", role);
  const char *line = strstr(files, wanted);
  memset(out, 0, sizeof *out);
  if (!line) return 0;
  while (line[-1] != '\n') line--;
  if (!value(line, "name") || sscanf(value(line, "name"), "\"%299[^\"]", name) != 1) return -1;
  out->size = is(line, "dtype", "\"int32") ? 4 : is(line, "dtype", "\"uint64") ? 8
            : is(line, "dtype", "\"float16") ? 2 : 1;
  out->zn = is(line, "layout", "\"zn");
  out->bytes = out->size;
  const char *at = value(line, "shape");
  for (at = at ? at + 1 : "]"; *at != ']' && out->dims < 8; at += strspn(at, ", ")) {
    char *end;
    out->shape[out->dims] = strtol(at, &end, 10);
    if (end == at || out->shape[out->dims] < 1) return -1;
    out->bytes *= out->shape[out->dims++];
    at = end;
  }
  if (!out->dims) return -1;
  int word = (int)number(line, "bits_per_word") / 8;
  long row = out->shape[out->dims - 1] * out->size, rows = out->bytes / row;
  long stride = number(line, "row_stride"); /* rows may begin further apart than they are long */
  if (!stride) stride = row;
  if (word < 1 || stride < row) return -1;
  long words = number(line, "words"), most = words * word;
  char *from = text(folder, name);
  unsigned char *data = most < 0 ? NULL : calloc((size_t)most + 1, 1);
  int good = from && data && hex(from, data, most, word, is(line, "order", "\"big")) == most &&
             most >= (rows - 1) * stride + row;
  for (long i = 0; good && i < rows; i++) memmove(data + i * row, data + i * stride, (size_t)row);
  free(from);
  out->data = data;
  return good ? 1 : -1;
}

/* --- the manifest ---------------------------------------------------------------------------- */

/* Finds the line of a name that stands at its beginning. */
static const char *line_of(const char *manifest, const char *name) {
  char wanted[64];
  snprintf(wanted, sizeof wanted, "\n \"%s\": ", name);
  const char *found = strstr(manifest, wanted);
  return found ? found + 1 : "";
}

static void sizes(const char *spec, struct layer *of) {
  const char *list = strstr(spec, "\"sizes\"");
  memset(of, 0, sizeof *of);
  of->conv = is(spec, "operation", "\"conv2d");
  if (!of->conv) {
    of->m = (int)number(list, "m"), of->n = (int)number(list, "n"), of->k = (int)number(list, "k");
  } else {
    const char *at;
    of->batch = (int)number(list, "batch"), of->cin = (int)number(list, "cin");
    of->h = (int)number(list, "h"), of->w = (int)number(list, "w");
    of->n = (int)number(list, "cout"), of->pad = (int)number(list, "offset_x");
    if ((at = value(list, "kernel"))) sscanf(at, "[%d, %d]", &of->ky, &of->kx);
    if ((at = value(list, "strides"))) sscanf(at, "[%d, %d]", &of->sy, &of->sx);
    if ((at = value(list, "dilations"))) sscanf(at, "[%d, %d]", &of->dy, &of->dx);
    if ((at = value(list, "pads")))
      sscanf(at, "[%d, %d, %d, %d]", &of->top, &of->left, &of->bottom, &of->right);
    if (!of->sy || !of->sx) return;
    of->ho = (of->h + of->top + of->bottom - (of->ky - 1) * of->dy - 1) / of->sy + 1;
    of->wo = (of->w + of->left + of->right - (of->kx - 1) * of->dx - 1) / of->sx + 1;
    of->m = of->batch * of->ho * of->wo;
    of->k = (of->cin + 31) / 32 * of->ky * of->kx * 32;
  }
  of->steps = (of->k + 63) / 64;
}

/* Finds where Mmads end; gives 0 if that is not known. */
static int cut(const char *manifest, struct layer *of) {
  const char *at = value(line_of(manifest, "layer"), "mmad_k");
  if (of->steps > CUTS) return 0;
  if (!at) {
    if (of->m > 64 || of->n > 64 || of->k > 320) return 0;
    of->last[of->steps - 1] = 1; /* one takes all of it */
    return 1;
  }
  at++;
  for (long k = 0; *at != ']'; at += strspn(at, ", ")) {
    char *end;
    k += strtol(at, &end, 10);
    if (end == at || k < 1 || k > of->k) return 0;
    of->last[(k + 63) / 64 - 1] = 1;
    at = end;
  }
  return of->last[of->steps - 1];
}

/* --- one output ------------------------------------------------------------------------------ */

/* Activation k of a row. A row of a convolution is a position of its result, and its K goes through
   blocks of 32 channels, then rows and columns of the kernel, then the channels of the block. */
static int activation(const struct layer *of, const struct array *a, int row, int k) {
  if (k >= of->k) return 0;
  if (!of->conv) return (signed char)a->data[(long)row * of->k + k];
  int lane = k % 32, tap = k / 32 % (of->ky * of->kx), block = k / 32 / (of->ky * of->kx);
  int image = row / (of->ho * of->wo), place = row % (of->ho * of->wo);
  int y = place / of->wo * of->sy + tap / of->kx * of->dy - of->top;
  int x = place % of->wo * of->sx + tap % of->kx * of->dx - of->left;
  if (y < 0 || x < 0 || y >= of->h || x >= of->w) return of->pad;
  long at = (((long)image * a->shape[1] + block) * of->h + y) * of->w + x;
  return (signed char)a->data[at * 32 + lane];
}

/* Byte i of what a column has in dense (32 bytes for 64 of K) or index (8 bytes). */
static int byte(const struct array *w, int column, int i, int of_64) {
  if (!w->zn) return i < w->shape[1] ? w->data[(long)column * w->shape[1] + i] : 0;
  /* Fractals of 16 columns; those of one piece of K stand side by side. */
  long fractal = (long)(i / of_64) * w->shape[1] + column / 16;
  return w->data[fractal * 16 * of_64 + column % 16 * of_64 + i % of_64];
}

static int64_t kept(int64_t sum, const struct unit *unit) { /* what int32 makes of a sum */
  if (unit->wraps) return (int32_t)(uint32_t)(uint64_t)sum;
  return sum < INT32_MIN ? INT32_MIN : sum > INT32_MAX ? INT32_MAX : sum;
}

static int32_t multiply(const struct layer *of, const struct unit *unit, const struct array *a,
                        const struct array *dense, const struct array *index, int32_t bias,
                        int row, int column) {
  int64_t sum = bias;
  for (int group = 0; group < 16 * of->steps; group++) {
    int pair = byte(index, column, group / 2, 8) >> group % 2 * 4;
    int i0 = pair & 3, i1 = pair >> 2 & 3, at0 = i0, at1 = i1 + 1; /* the rule */
    if (unit->table && i0 == 2 && i1 == 0) at1 = 2;
    int w0 = (signed char)byte(dense, column, 2 * group, 32);
    int w1 = (signed char)byte(dense, column, 2 * group + 1, 32);
    if (i0 < 3) sum += w0 * activation(of, a, row, 4 * group + at0);
    if (i1 < 3) sum += w1 * activation(of, a, row, 4 * group + at1);
    /* 64 of K are added at once, or what a Mmad has of it. */
    if (group % 16 == 15 && (!unit->whole || of->last[group / 16])) sum = kept(sum, unit);
  }
  return (int32_t)kept(sum, unit);
}

static int to_nearest(double x) { /* ties to even; x is small */
  int down = (int)x - (x < (int)x);
  double rest = x - down;
  return down + (rest > 0.5 || (rest == 0.5 && down % 2));
}

static unsigned to_fp16(float y) { /* of -65504 to 65504 */
  unsigned sign = y < 0 || (y == 0 && 1 / y < 0) ? 0x8000 : 0;
  double left = y < 0 ? -(double)y : y, unit = 1.0 / (1 << 24);
  int exponent = 0;
  for (; left / unit >= 2048; exponent++) unit *= 2;
  return sign | (unsigned)(to_nearest(left / unit) + exponent * 1024);
}

/* What FIXPIPE makes of a sum, as the bits of an int8, uint8 or float16. */
static unsigned requantise(int32_t sum, uint64_t word, const struct unit *unit, int fp16, int relu,
                           float below) {
  if (word >> 36 & 1 && !fp16) { /* shift first, and saturate to int16 */
    int shift = (int)(word >> 32 & 15) + !unit->shift_n;
    int64_t floor = (int64_t)1 << shift, half = sum / floor - (sum % floor < 0);
    sum = (int32_t)(half < -32768 ? -32768 : half > 32767 ? 32767 : half);
  }
  uint32_t bits = (uint32_t)word & 0xffffe000u;
  float x = (float)sum, scale;
  memcpy(&scale, &bits, sizeof scale);
  float y = x * (relu && x < 0 ? below : scale);
  if (fp16) return to_fp16(y < -65504 ? -65504 : y > 65504 ? 65504 : y);
  int offset = (int)(word >> 37 & 511);
  if (offset >= 256 && !unit->unsigned_offset) offset -= 512;
  int whole = to_nearest(y < -256 ? -256 : y > 255 ? 255 : y) + offset;
  int low = word >> 46 & 1 ? -128 : 0, high = word >> 46 & 1 ? 127 : 255;
  return (unsigned char)(whole < low ? low : whole > high ? high : whole);
}

static uint64_t element(const struct array *of, long i) { /* its bits */
  uint64_t bits = 0;
  for (int b = of->size - 1; b >= 0; b--) bits = bits << 8 | of->data[i * of->size + b];
  return bits;
}

/* --- a case ---------------------------------------------------------------------------------- */

enum { DENSE, INDEX, ACTIVATIONS, EXPECTED, BIAS, REQUANT, ROLES };
static const char *const names[] = {"dense", "index", "activations", "expected", "bias", "requant"};

/* Whether the arrays have the sizes that the layer gives them. */
static int fits(const struct layer *of, const struct array *a) {
  const struct array *x = &a[ACTIVATIONS], *dense = &a[DENSE], *index = &a[INDEX];
  int n1 = (of->n + 15) / 16, taps = of->ky * of->kx, wide = dense->zn ? 32 : (of->k + 7) / 8 * 4;
  if (of->m < 1 || of->n < 1 || of->k < 1) return 0;
  if (of->conv ? x->dims != 5 || x->shape[0] != of->batch || x->shape[1] * taps * 32 != of->k ||
                     x->shape[2] != of->h || x->shape[3] != of->w || x->shape[4] != 32
               : x->dims != 2 || x->shape[0] != of->m || x->shape[1] != of->k)
    return 0;
  for (int i = 0; i < 2; i++) {
    const struct array *w = i ? index : dense;
    int dims = w->zn ? 4 : 2, own = i ? wide / 4 : wide;
    if (w->zn != dense->zn || w->dims != dims || w->shape[dims - 1] != own || w->size != 1) return 0;
    if (w->zn ? w->shape[0] != of->steps || w->shape[1] != n1 || w->shape[2] != 16
              : w->shape[0] != of->n)
      return 0;
  }
  if (a[BIAS].data && (a[BIAS].size != 4 || a[BIAS].bytes != 4L * of->n)) return 0;
  return !a[REQUANT].data || (a[REQUANT].size == 8 &&
                              (a[REQUANT].bytes == 8 || a[REQUANT].bytes == 8L * of->n));
}

static int compute(const struct layer *of, const struct unit *unit, const struct array *a,
                   const char *how, const char *error) {
  long differing = 0, total = (long)of->m * of->n, words = a[REQUANT].bytes / 8;
  int fp16 = is(how, "mode", "\"DEQF16"), relu = value(how, "relu") && !is(how, "relu", "false");
  float below = relu && !is(how, "relu", "true") ? strtof(value(how, "relu"), NULL) : 0;
  for (long i = 0; !unit->nothing && i < a[INDEX].bytes; i++)
    for (int bit = 0; bit < 8; bit += 2)
      if ((a[INDEX].data[i] >> bit & 3) == 3) {
        printf("refused: an index of 3 in byte %ld; the case expects %.*s\n", i,
               *error ? (int)strcspn(error, "\"}") : 8, *error ? error : "a result");
        return a[EXPECTED].data ? DIFFERS : GOOD;
      }
  for (long i = 0; i < words; i++) /* 30:23 are the exponent of the scale */
    if ((element(&a[REQUANT], i) >> 23 & 255) == 255) {
      printf("refused: the scale of word %ld is infinite or no number; the case expects %.*s\n", i,
             *error ? (int)strcspn(error, "\"}") : 8, *error ? error : "a result");
      return a[EXPECTED].data ? DIFFERS : GOOD;
    }
  if (!a[EXPECTED].data || a[EXPECTED].bytes / a[EXPECTED].size != total) {
    printf("no expected result, or one of another size\n");
    return UNREADABLE;
  }
  for (int row = 0; row < of->m; row++)
    for (int column = 0; column < of->n; column++) {
      int32_t bias = a[BIAS].data ? (int32_t)element(&a[BIAS], column) : 0;
      int32_t sum = multiply(of, unit, &a[ACTIVATIONS], &a[DENSE], &a[INDEX], bias, row, column);
      uint64_t got = (uint32_t)sum, word = words ? element(&a[REQUANT], words > 1 ? column : 0) : 0;
      if (words) got = requantise(sum, word, unit, fp16, relu, below);
      differing += got != element(&a[EXPECTED], (long)row * of->n + column);
    }
  printf("%ld of %ld results differ", differing, total);
  if (*error) printf("; reading bad/ must give %.*s", (int)strcspn(error, "\"}"), error);
  printf("\n");
  return differing ? DIFFERS : GOOD;
}

static int look(const char *folder) {
  char *manifest = text(folder, "manifest.json");
  printf("%s: ", folder);
  if (!manifest) {
    printf("no manifest.json\n");
    return UNREADABLE;
  }
  const char *spec = line_of(manifest, "spec"), *files = line_of(manifest, "files");
  const char *outcome = line_of(manifest, "outcome");
  /* The rules of the unit: as the case was told, or as the default unit has them. */
  const char *given = strstr(spec, "\"overrides\""), *error = value(outcome, "error");
  struct unit unit = {
      is(given, "overflow", "\"wrap"),     is(given, "grain", "\"instruction"),
      is(given, "index3", "\"nothing"),    is(given, "pair20", "\"table"),
      is(given, "requant_shift", "\"n\""), is(given, "requant_offset", "\"unsigned"),
  };
  struct layer of;
  struct array arrays[ROLES];
  int code = GOOD;
  sizes(spec, &of);
  for (int role = 0; role < ROLES; role++)
    if (load(folder, files, names[role], &arrays[role]) < (role <= ACTIVATIONS)) code = UNREADABLE;
  const char *fault = NULL;
  if (code)
    fault = "a file is missing, not in hex, or not as the manifest says";
  else if (!fits(&of, arrays))
    fault = "sizes that do not fit each other";
  else if (unit.whole && !unit.wraps && !cut(manifest, &of))
    fault = "after each Mmad this unit saturates, and version 1 does not tell its K";
  if (fault)
    printf("%s\n", fault), code = UNREADABLE;
  else
    code = compute(&of, &unit, arrays, strstr(spec, "\"requant\": "), error ? error + 1 : "");
  for (int role = 0; role < ROLES; role++) free(arrays[role].data);
  free(manifest);
  return code;
}

int main(int argc, char **argv) {
  int code = argc < 2 ? UNREADABLE : GOOD;
  for (int i = 1; i < argc; i++) {
    int found = look(argv[i]);
    code = found > code ? found : code;
  }
  return code;
}
