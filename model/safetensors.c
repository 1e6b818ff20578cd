/*
 * Safetensors (model/safetensors.h). The header is read twice in place, once to check and count,
 * once to fill the directory, so that memory is taken once and stays below the header's own size.
 */
#include "model/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/checkpoint.h"
#include "model/scan.h"

#define MAX_HEADER (100u << 20) /* the format's own limit is 100,000,000 */

struct mdl_safetensors {
	struct mdl_dir dir;
};

/* What the format knows; those that the forward pass can't use keep MDL_TYPE_COUNT. */
static const struct dtype {
	const char *name;
	enum mdl_type type;
	unsigned bits;
} dtypes[] = {
	{"F32", MDL_TYPE_F32, 32},	{"F16", MDL_TYPE_F16, 16},
	{"BF16", MDL_TYPE_BF16, 16},	{"F8_E4M3", MDL_TYPE_F8_E4M3, 8},
	{"I32", MDL_TYPE_I32, 32},	{"I64", MDL_TYPE_I64, 64},
	{"U8", MDL_TYPE_U8, 8},		{"F8_E8M0", MDL_TYPE_U8, 8},
	{"BOOL", MDL_TYPE_COUNT, 8},	{"I8", MDL_TYPE_COUNT, 8},
	{"I16", MDL_TYPE_COUNT, 16},	{"U16", MDL_TYPE_COUNT, 16},
	{"U32", MDL_TYPE_COUNT, 32},	{"U64", MDL_TYPE_COUNT, 64},
	{"F64", MDL_TYPE_COUNT, 64},	{"F8_E5M2", MDL_TYPE_COUNT, 8},
	{"C64", MDL_TYPE_COUNT, 64},	{"F8_E4M3FNUZ", MDL_TYPE_COUNT, 8},
	{"F4", MDL_TYPE_COUNT, 4},	{"F8_E5M2FNUZ", MDL_TYPE_COUNT, 8},
	{"F6_E2M3", MDL_TYPE_COUNT, 6}, {"F6_E3M2", MDL_TYPE_COUNT, 6},
};

/* One tensor as its JSON says. */
struct row {
	const char *name;
	size_t name_len;
	const struct dtype *dtype;
	uint64_t dims_at, values; /* product of the dimensions */
	uint32_t n_dims;
	uint64_t begin, end;
	bool has_shape, has_offsets;
};

static int fail_row(const struct mdl_scan *s, const struct row *row, struct lt_err *err,
		    const char *what)
{
	return lt_fail(err, LT_EFORMAT, "%s: tensor %.*s: %s", s->file, (int)row->name_len,
		       row->name, what);
}

static int read_dtype(struct mdl_scan *s, struct row *row, struct lt_err *err)
{
	const char *str;
	size_t n;
	bool escaped;
	int rc = mdl_scan_string(s, &str, &n, &escaped, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < sizeof(dtypes) / sizeof(*dtypes); i++) {
		if (strlen(dtypes[i].name) == n && memcmp(dtypes[i].name, str, n) == 0) {
			row->dtype = &dtypes[i];
			return 0;
		}
	}
	return lt_fail(err, LT_EFORMAT, "%s: tensor %.*s: dtype %.*s is unknown", s->file,
		       (int)row->name_len, row->name, n > 40 ? 40 : (int)n, str);
}

static int read_shape(struct mdl_scan *s, struct row *row, struct lt_err *err)
{
	bool more;
	uint64_t v;
	int rc = mdl_scan_expect(s, '[', err);

	row->has_shape = true;
	row->values = 1;
	row->dims_at = s->at;
	if (rc < 0 || mdl_scan_eat(s, ']'))
		return rc;
	do {
		if (row->n_dims == MDL_DIR_DIMS)
			return fail_row(s, row, err, "more than 8 dimensions");
		rc = mdl_scan_u64(s, &v, err);
		if (rc < 0)
			return rc;
		if (__builtin_mul_overflow(row->values, v, &row->values))
			return fail_row(s, row, err, "the product of its dimensions is too large");
		row->n_dims++;
		rc = mdl_scan_next(s, ']', &more, err);
	} while (rc == 0 && more);
	return rc;
}

static int read_offsets(struct mdl_scan *s, struct row *row, struct lt_err *err)
{
	int rc = mdl_scan_expect(s, '[', err);

	row->has_offsets = true;
	if (rc == 0)
		rc = mdl_scan_u64(s, &row->begin, err);
	if (rc == 0)
		rc = mdl_scan_expect(s, ',', err);
	if (rc == 0)
		rc = mdl_scan_u64(s, &row->end, err);
	if (rc == 0)
		rc = mdl_scan_expect(s, ']', err);
	return rc;
}

static int read_field(struct mdl_scan *s, struct row *row, struct lt_err *err)
{
	const char *key;
	size_t n;
	bool escaped;
	int rc = mdl_scan_string(s, &key, &n, &escaped, err);

	if (rc == 0)
		rc = mdl_scan_expect(s, ':', err);
	if (rc < 0)
		return rc;
	if (n == 5 && memcmp(key, "dtype", 5) == 0)
		return row->dtype ? fail_row(s, row, err, "dtype stands there twice")
				  : read_dtype(s, row, err);
	if (n == 5 && memcmp(key, "shape", 5) == 0)
		return row->has_shape ? fail_row(s, row, err, "shape stands there twice")
				      : read_shape(s, row, err);
	if (n == 12 && memcmp(key, "data_offsets", 12) == 0)
		return row->has_offsets ? fail_row(s, row, err, "data_offsets stands there twice")
					: read_offsets(s, row, err);
	return lt_fail(err, LT_EFORMAT,
		       "%s: tensor %.*s: unknown key %.*s, dtype, shape and data_offsets are "
		       "allowed",
		       s->file, (int)row->name_len, row->name, n > 40 ? 40 : (int)n, key);
}

/* Checks a whole row against the `size` bytes of data. */
static int check_row(const struct mdl_scan *s, const struct row *row, uint64_t size,
		     struct lt_err *err)
{
	uint64_t bits;

	if (!row->dtype || !row->has_shape || !row->has_offsets)
		return fail_row(s, row, err, "dtype, shape or data_offsets is missing");
	if (row->begin > row->end || row->end > size)
		return lt_fail(err, LT_EFORMAT,
			       "%s: tensor %.*s: data_offsets [%" PRIu64 ", %" PRIu64
			       "] are not within the file's %" PRIu64 " bytes of data",
			       s->file, (int)row->name_len, row->name, row->begin, row->end, size);
	if (__builtin_mul_overflow(row->values, row->dtype->bits, &bits))
		return fail_row(s, row, err, "the product of its dimensions is too large");
	if (bits % 8 || bits / 8 != row->end - row->begin)
		return lt_fail(err, LT_EFORMAT,
			       "%s: tensor %.*s: %" PRIu64 " bytes of data, its shape of %" PRIu64
			       " %s values needs %" PRIu64,
			       s->file, (int)row->name_len, row->name, row->end - row->begin,
			       row->values, row->dtype->name, bits / 8);
	return 0;
}

static int read_row(struct mdl_scan *s, struct row *row, struct lt_err *err)
{
	bool more;
	int rc = mdl_scan_expect(s, '{', err);

	if (rc < 0 || mdl_scan_eat(s, '}'))
		return rc;
	do {
		rc = read_field(s, row, err);
		if (rc == 0)
			rc = mdl_scan_next(s, '}', &more, err);
	} while (rc == 0 && more);
	return rc;
}

/* "__metadata__": an object of strings, which nothing here needs. */
static int skip_metadata(struct mdl_scan *s, struct lt_err *err)
{
	if (!mdl_scan_eat(s, '{'))
		return mdl_scan_fail(s, err, "__metadata__ is not an object");
	s->at--;
	return mdl_scan_skip(s, err);
}

/* What a pass over the header counts. */
struct count {
	size_t tensors, name_bytes;
};

/* One item of the header; with `d` it is added there, without it is checked and counted. */
static int read_item(struct mdl_scan *s, uint64_t size, struct mdl_dir *d, struct count *c,
		     struct lt_err *err)
{
	struct row row = {0};
	bool escaped;
	int rc = mdl_scan_string(s, &row.name, &row.name_len, &escaped, err);

	if (rc == 0)
		rc = mdl_scan_expect(s, ':', err);
	if (rc < 0)
		return rc;
	if (row.name_len == 12 && memcmp(row.name, "__metadata__", 12) == 0)
		return skip_metadata(s, err);
	if (escaped)
		return mdl_scan_fail(s, err, "a tensor's name has an escape");
	if (!d)
		rc = mdl_dir_check_name(s->file, c->tensors, row.name, row.name_len, MDL_DIR_NAME,
					err);
	if (rc == 0)
		rc = read_row(s, &row, err);
	if (rc == 0)
		rc = check_row(s, &row, size, err);
	if (rc < 0)
		return rc;
	c->tensors++;
	c->name_bytes += row.name_len + 1;
	if (d) {
		uint64_t data = 8 + (uint64_t)s->n;
		struct mdl_entry e = {.offset = data + row.begin,
				      .bytes = row.end - row.begin,
				      .dims_at = 8 + row.dims_at,
				      .file = (uint16_t)(d->n_files - 1),
				      .type = (uint8_t)row.dtype->type,
				      .n_dims = (uint8_t)row.n_dims};
		mdl_dir_add(d, &e, row.name, row.name_len);
	}
	return 0;
}

static int read_header(struct mdl_scan *s, uint64_t size, struct mdl_dir *d, struct count *c,
		       struct lt_err *err)
{
	bool more = true;
	int rc;

	memset(c, 0, sizeof(*c));
	s->at = 0;
	rc = mdl_scan_expect(s, '{', err);
	if (rc == 0 && mdl_scan_eat(s, '}'))
		more = false;
	while (rc == 0 && more) {
		rc = read_item(s, size, d, c, err);
		if (rc == 0)
			rc = mdl_scan_next(s, '}', &more, err);
	}
	if (rc == 0 && !mdl_scan_end(s))
		rc = mdl_scan_fail(s, err, "text after the end of the header");
	return rc;
}

int mdl_safetensors_read(struct mdl_dir *d, struct lt_err *err)
{
	const struct mdl_file *f = &d->files[d->n_files - 1];
	struct mdl_scan s = {.file = f->name};
	size_t first = d->n;
	struct count c;
	uint64_t n, size;
	int rc;

	if (f->map.size < 8)
		return lt_fail(err, LT_EFORMAT, "%s: %zu bytes, too short for a safetensors file",
			       f->name, f->map.size);
	memcpy(&n, f->map.data, 8);
	if (n > MAX_HEADER || n > f->map.size - 8)
		return lt_fail(err, LT_EFORMAT,
			       "%s: header of %" PRIu64 " bytes; the file has %zu, at most %u are "
			       "allowed",
			       f->name, n, f->map.size, MAX_HEADER);
	s.text = (const char *)f->map.data + 8;
	s.n = (size_t)n;
	size = f->map.size - 8 - n;
	rc = read_header(&s, size, NULL, &c, err);
	if (rc == 0)
		rc = mdl_dir_reserve(d, c.tensors, c.name_bytes, err);
	if (rc == 0)
		rc = read_header(&s, size, d, &c, err);
	return rc < 0 ? rc : mdl_dir_check_ranges(d, first, 8 + n, f->map.size, true, err);
}

int mdl_safetensors_open(const char *path, struct mdl_safetensors **out, struct lt_err *err)
{
	struct mdl_safetensors *s = lt_alloc(1, sizeof(*s));
	int rc;

	*out = NULL;
	if (!s)
		return lt_fail(err, LT_ENOMEM, "%s: out of memory", path);
	rc = mdl_dir_map(&s->dir, path, err);
	if (rc == 0)
		rc = mdl_safetensors_read(&s->dir, err);
	if (rc == 0)
		rc = mdl_dir_index(&s->dir, err);
	if (rc < 0) {
		mdl_safetensors_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void mdl_safetensors_close(struct mdl_safetensors *s)
{
	if (!s)
		return;
	mdl_dir_fini(&s->dir);
	free(s);
}

bool mdl_safetensors_get(const struct mdl_safetensors *s, const char *name, struct mdl_tensor *out)
{
	const struct mdl_entry *e = mdl_dir_find(&s->dir, name);

	if (!e || e->type >= MDL_TYPE_COUNT)
		return false;
	memset(out, 0, sizeof(*out));
	out->type = (enum mdl_type)e->type;
	out->n_dims = e->n_dims;
	mdl_dir_dims(&s->dir, e, out->dims);
	out->data = mdl_dir_data(&s->dir, e);
	out->bytes = e->bytes;
	return true;
}
