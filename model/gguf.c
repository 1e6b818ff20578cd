/*
 * GGUF: header, metadata and split sets (model/gguf.h). The tensor table is read by gguf-tensors.c.
 *
 * Numbers in the file decide about nothing before they are checked: a count is compared with the
 * bytes that are left before memory is taken for it, a length before the cursor moves.
 */
#include "model/gguf.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/gguf-read.h"

#define MAX_KEYS  65536u /* published files have some fifty */
#define MAX_KEY	  256u	 /* bytes of a key */
#define MAX_ALIGN (1u << 20)

/* One key of the metadata. */
struct kv {
	const char *key; /* not NUL-terminated */
	uint32_t key_len;
	uint32_t kind;
	const unsigned char *value;
};

struct mdl_gguf {
	struct mdl_dir dir;
	struct kv *kv; /* [n_kv] of the first part, sorted by key */
	size_t n_kv;
};

static const char *const kind_names[MDL_GGUF_KIND_COUNT] = {"u8",  "i8",  "u16",  "i16",    "u32",
							    "i32", "f32", "bool", "string", "array",
							    "u64", "i64", "f64"};
static const uint8_t kind_bytes[MDL_GGUF_KIND_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

bool mdl_gguf_is(const char *path)
{
	char magic[4];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool is;

	if (fd < 0)
		return false;
	is = read(fd, magic, 4) == 4 && memcmp(magic, "GGUF", 4) == 0;
	close(fd);
	return is;
}

/* --- the cursor ------------------------------------------------------------------------------- */

bool mdl_rd_skip(struct mdl_rd *r, uint64_t n)
{
	if (n > r->size - r->at)
		return false;
	r->at += (size_t)n;
	return true;
}

bool mdl_rd_u32(struct mdl_rd *r, uint32_t *v)
{
	if (r->size - r->at < 4)
		return false;
	memcpy(v, r->data + r->at, 4);
	r->at += 4;
	return true;
}

bool mdl_rd_u64(struct mdl_rd *r, uint64_t *v)
{
	if (r->size - r->at < 8)
		return false;
	memcpy(v, r->data + r->at, 8);
	r->at += 8;
	return true;
}

bool mdl_rd_string(struct mdl_rd *r, const char **s, uint64_t *n)
{
	uint64_t len;

	if (!mdl_rd_u64(r, &len))
		return false;
	*s = (const char *)r->data + r->at;
	*n = len;
	return mdl_rd_skip(r, len);
}

/* --- metadata --------------------------------------------------------------------------------- */

static int fail_key(const struct mdl_rd *r, const struct kv *kv, struct lt_err *err,
		    const char *what)
{
	return lt_fail(err, LT_EFORMAT, "%s: key %.*s: %s", r->file, (int)kv->key_len, kv->key,
		       what);
}

/* Moves past an array's items, checking each length. */
static int skip_array(struct mdl_rd *r, const struct kv *kv, struct lt_err *err)
{
	uint32_t kind;
	uint64_t count, n;
	const char *s;
	size_t bytes;

	if (!mdl_rd_u32(r, &kind) || !mdl_rd_u64(r, &count))
		return fail_key(r, kv, err, "the file ends inside the array's head");
	if (kind == MDL_GGUF_ARRAY)
		return fail_key(r, kv, err, "an array of arrays is not allowed");
	if (kind >= MDL_GGUF_KIND_COUNT)
		return lt_fail(err, LT_EFORMAT,
			       "%s: key %.*s: array of unknown kind %" PRIu32 ", 0 to %d exist",
			       r->file, (int)kv->key_len, kv->key, kind, MDL_GGUF_KIND_COUNT - 1);
	if (kind != MDL_GGUF_STRING) {
		if (!lt_mul(count, kind_bytes[kind], &bytes) || !mdl_rd_skip(r, bytes))
			return lt_fail(err, LT_EFORMAT,
				       "%s: key %.*s: array of %" PRIu64
				       " items runs past the end of the file",
				       r->file, (int)kv->key_len, kv->key, count);
		return 0;
	}
	if (count > (r->size - r->at) / 8)
		return lt_fail(err, LT_EFORMAT,
			       "%s: key %.*s: array of %" PRIu64
			       " strings runs past the end of the file",
			       r->file, (int)kv->key_len, kv->key, count);
	for (uint64_t i = 0; i < count; i++) {
		if (!mdl_rd_string(r, &s, &n))
			return lt_fail(err, LT_EFORMAT,
				       "%s: key %.*s: string %" PRIu64
				       " runs past the end of the file",
				       r->file, (int)kv->key_len, kv->key, i);
	}
	return 0;
}

static int read_key(struct mdl_rd *r, uint64_t i, struct kv *kv, struct lt_err *err)
{
	uint64_t len;

	if (!mdl_rd_string(r, &kv->key, &len))
		return lt_fail(err, LT_EFORMAT, "%s: key %" PRIu64 " runs past the end of the file",
			       r->file, i);
	if (len == 0 || len > MAX_KEY)
		return lt_fail(err, LT_EFORMAT,
			       "%s: key %" PRIu64 " has %" PRIu64 " bytes, 1 to %u are allowed",
			       r->file, i, len, MAX_KEY);
	for (uint64_t k = 0; k < len; k++) {
		if (kv->key[k] <= 0x20 || kv->key[k] > 0x7e)
			return lt_fail(err, LT_EFORMAT,
				       "%s: key %" PRIu64 ": byte 0x%02x is not printable ASCII",
				       r->file, i, (unsigned char)kv->key[k]);
	}
	kv->key_len = (uint32_t)len;
	if (!mdl_rd_u32(r, &kv->kind))
		return fail_key(r, kv, err, "the file ends before the value");
	kv->value = r->data + r->at;
	return 0;
}

static int read_kv(struct mdl_rd *r, uint64_t i, struct kv *kv, struct lt_err *err)
{
	const char *s;
	uint64_t n;
	int rc = read_key(r, i, kv, err);

	if (rc < 0)
		return rc;
	if (kv->kind >= MDL_GGUF_KIND_COUNT)
		return lt_fail(err, LT_EFORMAT,
			       "%s: key %.*s: unknown kind %" PRIu32 ", 0 to %d exist", r->file,
			       (int)kv->key_len, kv->key, kv->kind, MDL_GGUF_KIND_COUNT - 1);
	if (kv->kind == MDL_GGUF_ARRAY)
		return skip_array(r, kv, err);
	if (kv->kind == MDL_GGUF_STRING)
		return mdl_rd_string(r, &s, &n)
			       ? 0
			       : fail_key(r, kv, err, "the string runs past the end of the file");
	return mdl_rd_skip(r, kind_bytes[kv->kind])
		       ? 0
		       : fail_key(r, kv, err, "the file ends inside the value");
}

static int key_cmp(const char *a, size_t n, const char *b, size_t m)
{
	int c = memcmp(a, b, n < m ? n : m);

	return c ? c : (n > m) - (n < m);
}

static int by_key(const void *a, const void *b)
{
	const struct kv *x = a, *y = b;

	return key_cmp(x->key, x->key_len, y->key, y->key_len);
}

static const struct kv *find_in(const struct kv *kv, size_t n, const char *key)
{
	size_t lo = 0, hi = n, len = strlen(key);

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = key_cmp(kv[mid].key, kv[mid].key_len, key, len);
		if (c == 0)
			return &kv[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* Reads n keys into a sorted table for the caller to free. */
static int read_keys(struct mdl_rd *r, uint64_t n, struct kv **out, struct lt_err *err)
{
	struct kv *kv;
	int rc = 0;

	/* The shortest key takes 8 + 1 bytes, its kind 4, its value 1. */
	if (n > MAX_KEYS || n > (r->size - r->at) / 14)
		return lt_fail(err, LT_EFORMAT,
			       "%s: %" PRIu64 " metadata keys, at most %u and what fits the file "
			       "are allowed",
			       r->file, n, MAX_KEYS);
	kv = lt_alloc((size_t)n, sizeof(*kv));
	if (!kv)
		return lt_fail(err, LT_ENOMEM, "%s: out of memory for %" PRIu64 " keys", r->file,
			       n);
	for (uint64_t i = 0; i < n && rc == 0; i++)
		rc = read_kv(r, i, &kv[i], err);
	if (rc == 0) {
		qsort(kv, (size_t)n, sizeof(*kv), by_key);
		for (size_t i = 1; i < n && rc == 0; i++) {
			if (by_key(&kv[i - 1], &kv[i]) == 0)
				rc = fail_key(r, &kv[i], err, "stands there twice");
		}
	}
	if (rc < 0) {
		free(kv);
		return rc;
	}
	*out = kv;
	return 0;
}

/* --- typed values ----------------------------------------------------------------------------- */

static int64_t int_at(enum mdl_gguf_kind kind, const unsigned char *at)
{
	union {
		uint8_t u8;
		int8_t i8;
		uint16_t u16;
		int16_t i16;
		uint32_t u32;
		int32_t i32;
		uint64_t u64;
		int64_t i64;
	} v;

	memcpy(&v, at, kind_bytes[kind]);
	switch (kind) {
	case MDL_GGUF_U8:
	case MDL_GGUF_BOOL: return v.u8;
	case MDL_GGUF_I8: return v.i8;
	case MDL_GGUF_U16: return v.u16;
	case MDL_GGUF_I16: return v.i16;
	case MDL_GGUF_U32: return v.u32;
	case MDL_GGUF_I32: return v.i32;
	case MDL_GGUF_U64: return v.u64 > INT64_MAX ? INT64_MAX : (int64_t)v.u64;
	case MDL_GGUF_I64: return v.i64;
	default: LT_ASSERT(!"an integer kind"); return 0;
	}
}

static bool is_int(uint32_t kind)
{
	return kind != MDL_GGUF_BOOL && kind != MDL_GGUF_F32 && kind != MDL_GGUF_F64 &&
	       kind != MDL_GGUF_STRING && kind != MDL_GGUF_ARRAY;
}

static double float_at(uint32_t kind, const unsigned char *at)
{
	float f;
	double d;

	if (kind == MDL_GGUF_F32) {
		memcpy(&f, at, 4);
		return f;
	}
	memcpy(&d, at, 8);
	return d;
}

static int fail_kind(const char *file, const char *key, uint32_t kind, const char *want,
		     struct lt_err *err)
{
	return lt_fail(err, LT_EFORMAT, "%s: key %s: kind %s where %s is needed", file, key,
		       kind_names[kind], want);
}

static int u32_of(const char *file, const char *key, const struct kv *kv, uint32_t *out,
		  struct lt_err *err)
{
	int64_t v;

	if (!is_int(kv->kind))
		return fail_kind(file, key, kv->kind, "an integer", err);
	v = int_at((enum mdl_gguf_kind)kv->kind, kv->value);
	if (v < 0 || v > UINT32_MAX)
		return lt_fail(err, LT_EFORMAT,
			       "%s: key %s: %" PRId64 " is out of range, 0 to 4294967295 are "
			       "allowed",
			       file, key, v);
	*out = (uint32_t)v;
	return 0;
}

bool mdl_gguf_has(const struct mdl_gguf *g, const char *key)
{
	return find_in(g->kv, g->n_kv, key) != NULL;
}

int mdl_gguf_u32(const struct mdl_gguf *g, const char *key, uint32_t *out, struct lt_err *err)
{
	const struct kv *kv = find_in(g->kv, g->n_kv, key);

	return kv ? u32_of(mdl_gguf_file(g), key, kv, out, err) : 0;
}

int mdl_gguf_f64(const struct mdl_gguf *g, const char *key, double *out, struct lt_err *err)
{
	const struct kv *kv = find_in(g->kv, g->n_kv, key);
	double v;

	if (!kv)
		return 0;
	if (is_int(kv->kind))
		v = (double)int_at((enum mdl_gguf_kind)kv->kind, kv->value);
	else if (kv->kind == MDL_GGUF_F32 || kv->kind == MDL_GGUF_F64)
		v = float_at(kv->kind, kv->value);
	else
		return fail_kind(mdl_gguf_file(g), key, kv->kind, "a number", err);
	if (!isfinite(v))
		return lt_fail(err, LT_EFORMAT, "%s: key %s: not a finite number", mdl_gguf_file(g),
			       key);
	*out = v;
	return 0;
}

int mdl_gguf_bool(const struct mdl_gguf *g, const char *key, bool *out, struct lt_err *err)
{
	const struct kv *kv = find_in(g->kv, g->n_kv, key);

	if (!kv)
		return 0;
	if (kv->kind != MDL_GGUF_BOOL)
		return fail_kind(mdl_gguf_file(g), key, kv->kind, "bool", err);
	if (*kv->value > 1)
		return lt_fail(err, LT_EFORMAT, "%s: key %s: bool of value %u, 0 or 1 are allowed",
			       mdl_gguf_file(g), key, *kv->value);
	*out = *kv->value;
	return 0;
}

int mdl_gguf_string(const struct mdl_gguf *g, const char *key, const char **s, size_t *n,
		    struct lt_err *err)
{
	const struct kv *kv = find_in(g->kv, g->n_kv, key);
	uint64_t len;

	if (!kv)
		return 0;
	if (kv->kind != MDL_GGUF_STRING)
		return fail_kind(mdl_gguf_file(g), key, kv->kind, "a string", err);
	memcpy(&len, kv->value, 8);
	*s = (const char *)kv->value + 8;
	*n = (size_t)len;
	return 0;
}

int mdl_gguf_array(const struct mdl_gguf *g, const char *key, enum mdl_gguf_kind want,
		   struct mdl_gguf_array *out, struct lt_err *err)
{
	const struct kv *kv = find_in(g->kv, g->n_kv, key);
	uint32_t kind;
	bool fits;

	memset(out, 0, sizeof(*out));
	if (!kv)
		return 0;
	if (kv->kind != MDL_GGUF_ARRAY)
		return fail_kind(mdl_gguf_file(g), key, kv->kind, "an array", err);
	memcpy(&kind, kv->value, 4);
	memcpy(&out->left, kv->value + 4, 8);
	out->kind = (enum mdl_gguf_kind)kind;
	out->at = kv->value + 12;
	if (want == MDL_GGUF_STRING)
		fits = kind == MDL_GGUF_STRING;
	else if (want == MDL_GGUF_I64)
		fits = is_int(kind) || kind == MDL_GGUF_BOOL;
	else
		fits = kind == MDL_GGUF_F32 || kind == MDL_GGUF_F64;
	if (!fits)
		return lt_fail(err, LT_EFORMAT,
			       "%s: key %s: an array of %s where one of %s is needed",
			       mdl_gguf_file(g), key, kind_names[kind], kind_names[want]);
	return 0;
}

bool mdl_gguf_next_string(struct mdl_gguf_array *a, const char **s, size_t *n)
{
	uint64_t len;

	if (a->left == 0)
		return false;
	memcpy(&len, a->at, 8);
	*s = (const char *)a->at + 8;
	*n = (size_t)len;
	a->at += 8 + len;
	a->left--;
	return true;
}

bool mdl_gguf_next_int(struct mdl_gguf_array *a, int64_t *v)
{
	if (a->left == 0)
		return false;
	*v = int_at(a->kind, a->at);
	a->at += kind_bytes[a->kind];
	a->left--;
	return true;
}

bool mdl_gguf_next_float(struct mdl_gguf_array *a, double *v)
{
	if (a->left == 0)
		return false;
	*v = float_at(a->kind, a->at);
	a->at += kind_bytes[a->kind];
	a->left--;
	return true;
}

/* --- files ------------------------------------------------------------------------------------ */

/* What the header and the split keys of one part say. */
struct part {
	uint64_t tensors, keys;
	uint32_t align;
	uint32_t split_no, split_count, split_tensors;
	struct kv *kv;
};

static int read_header(struct mdl_rd *r, struct part *p, struct lt_err *err)
{
	uint32_t magic, version;

	if (!mdl_rd_u32(r, &magic) || memcmp(r->data, "GGUF", 4) != 0)
		return lt_fail(err, LT_EFORMAT, "%s: not a GGUF file (magic bytes)", r->file);
	if (!mdl_rd_u32(r, &version) || !mdl_rd_u64(r, &p->tensors) || !mdl_rd_u64(r, &p->keys))
		return lt_fail(err, LT_EFORMAT, "%s: the file ends inside the header", r->file);
	if (version == 0x02000000 || version == 0x03000000)
		return lt_fail(err, LT_EUNSUPPORTED,
			       "%s: a big-endian GGUF file; only little-endian is supported",
			       r->file);
	if (version != 2 && version != 3)
		return lt_fail(err, LT_EUNSUPPORTED,
			       "%s: GGUF version %" PRIu32 ", 2 and 3 are supported", r->file,
			       version);
	return 0;
}

static int part_u32(const struct mdl_rd *r, const struct part *p, const char *key, uint32_t *out,
		    struct lt_err *err)
{
	const struct kv *kv = find_in(p->kv, (size_t)p->keys, key);

	return kv ? u32_of(r->file, key, kv, out, err) : 0;
}

/* Maps one part and reads its header, keys and tensors. p->kv is for the caller to free. */
static int open_part(struct mdl_gguf *g, const char *path, struct part *p, struct lt_err *err)
{
	struct mdl_rd r = {0};
	int rc;

	p->align = 32;
	rc = mdl_dir_map(&g->dir, path, err);
	if (rc < 0)
		return rc;
	r.data = g->dir.files[g->dir.n_files - 1].map.data;
	r.size = g->dir.files[g->dir.n_files - 1].map.size;
	r.file = g->dir.files[g->dir.n_files - 1].name;
	rc = read_header(&r, p, err);
	if (rc == 0)
		rc = read_keys(&r, p->keys, &p->kv, err);
	if (rc == 0)
		rc = part_u32(&r, p, "general.alignment", &p->align, err);
	if (rc == 0)
		rc = part_u32(&r, p, "split.no", &p->split_no, err);
	if (rc == 0)
		rc = part_u32(&r, p, "split.count", &p->split_count, err);
	if (rc == 0)
		rc = part_u32(&r, p, "split.tensors.count", &p->split_tensors, err);
	if (rc < 0)
		return rc;
	if (p->align == 0 || p->align > MAX_ALIGN || (p->align & (p->align - 1)))
		return lt_fail(err, LT_EFORMAT,
			       "%s: general.alignment %" PRIu32
			       " is not a power of two from 1 to %u",
			       r.file, p->align, MAX_ALIGN);
	return mdl_gguf_read_tensors(&g->dir, &r, p->tensors, p->align, err);
}

/* The place of "00001-of-0000N.gguf" in a path, NULL if its name has no such end. */
static char *split_suffix(char *path, uint32_t *no, uint32_t *count)
{
	static const char form[] = "ddddd-of-ddddd.gguf";
	size_t n = strlen(path), m = sizeof(form) - 1;
	char *s;

	if (n < m)
		return NULL;
	s = path + n - m;
	for (size_t i = 0; i < m; i++) {
		if (form[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != form[i])
			return NULL;
	}
	*no = (uint32_t)strtoul(s, NULL, 10);
	*count = (uint32_t)strtoul(s + 9, NULL, 10);
	return s;
}

static int open_next_part(struct mdl_gguf *g, const char *path, uint32_t i, uint32_t count,
			  struct lt_err *err)
{
	struct part p = {0};
	int rc = open_part(g, path, &p, err);
	const char *file = g->dir.files[g->dir.n_files - 1].name;

	if (rc == 0 && (p.split_no != i || p.split_count != count))
		rc = lt_fail(err, LT_EFORMAT,
			     "%s: split.no %" PRIu32 " of split.count %" PRIu32 ", %" PRIu32
			     " of %" PRIu32 " are needed",
			     file, p.split_no, p.split_count, i, count);
	free(p.kv);
	return rc;
}

/* Opens parts 2 to the last, named after the first. */
static int open_split(struct mdl_gguf *g, const char *path, const struct part *first,
		      struct lt_err *err)
{
	uint32_t name_no = 0, name_count = 0, count = first->split_count;
	const char *file = mdl_gguf_file(g);
	char *name = lt_strndup(path, strlen(path));
	char *suffix;
	int rc = 0;

	if (!name)
		return lt_fail(err, LT_ENOMEM, "%s: out of memory", file);
	suffix = split_suffix(name, &name_no, &name_count);
	if (first->split_no != 0)
		rc = lt_fail(err, LT_EINVAL,
			     "%s: part %" PRIu32 " of %" PRIu32 " of a split file; give the first",
			     file, first->split_no + 1, count);
	else if (count > MDL_DIR_FILES)
		rc = lt_fail(err, LT_EFORMAT, "%s: split.count %" PRIu32 ", at most %u are allowed",
			     file, count, MDL_DIR_FILES);
	else if (!suffix || name_no != 1 || name_count != count)
		rc = lt_fail(err, LT_EFORMAT,
			     "%s: split.count is %" PRIu32
			     ", so the name must end in -00001-of-%05" PRIu32 ".gguf",
			     file, count, count);
	for (uint32_t i = 1; i < count && rc == 0; i++) {
		char digits[16];
		snprintf(digits, sizeof(digits), "%05" PRIu32, i + 1);
		memcpy(suffix, digits, 5);
		rc = open_next_part(g, name, i, count, err);
	}
	if (rc == 0 && first->split_tensors && first->split_tensors != g->dir.n)
		rc = lt_fail(err, LT_EFORMAT,
			     "%s: split.tensors.count is %" PRIu32 ", the parts hold %zu", file,
			     first->split_tensors, g->dir.n);
	free(name);
	return rc;
}

int mdl_gguf_open(const char *path, struct mdl_gguf **out, struct lt_err *err)
{
	struct mdl_gguf *g = lt_alloc(1, sizeof(*g));
	struct part first = {0};
	int rc;

	*out = NULL;
	if (!g)
		return lt_fail(err, LT_ENOMEM, "%s: out of memory", path);
	g->dir.gguf = true;
	rc = open_part(g, path, &first, err);
	g->kv = first.kv;
	g->n_kv = (size_t)first.keys;
	if (rc == 0 && (first.split_count > 1 || first.split_no > 0))
		rc = open_split(g, path, &first, err);
	if (rc == 0)
		rc = mdl_dir_index(&g->dir, err);
	if (rc < 0) {
		mdl_gguf_close(g);
		return rc;
	}
	*out = g;
	return 0;
}

void mdl_gguf_close(struct mdl_gguf *g)
{
	if (!g)
		return;
	mdl_dir_fini(&g->dir);
	free(g->kv);
	free(g);
}

const struct mdl_dir *mdl_gguf_dir(const struct mdl_gguf *g)
{
	return &g->dir;
}

const char *mdl_gguf_file(const struct mdl_gguf *g)
{
	return g->dir.files[0].name;
}
