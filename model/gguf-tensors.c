/*
 * The tensor table of a GGUF file: two passes, one that checks and counts, one that fills the
 * directory, so that memory is taken once and never more than the table's own size plus a little.
 */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "model/gguf-read.h"

#define MAX_TENSORS (1u << 20)
#define MAX_NAME    64u /* the format's own limit */
#define MAX_DIMS    4u

/* One row of the table as it stands in the file. */
struct row {
	const char *name;
	uint64_t name_len;
	uint32_t n_dims, type_id;
	uint64_t dims_at;
	uint64_t ne[MAX_DIMS]; /* fastest first */
	uint64_t offset;
};

static int read_dims(struct mdl_rd *r, struct row *row, struct lt_err *err)
{
	int len = (int)row->name_len;

	if (!mdl_rd_u32(r, &row->n_dims))
		return lt_fail(err, LT_EFORMAT, "%s: tensor %.*s: the file ends inside the table",
			       r->file, len, row->name);
	if (row->n_dims == 0 || row->n_dims > MAX_DIMS)
		return lt_fail(err, LT_EFORMAT,
			       "%s: tensor %.*s: %" PRIu32 " dimensions, 1 to %u are allowed",
			       r->file, len, row->name, row->n_dims, MAX_DIMS);
	row->dims_at = r->at;
	for (uint32_t i = 0; i < row->n_dims; i++) {
		if (!mdl_rd_u64(r, &row->ne[i]))
			return lt_fail(err, LT_EFORMAT,
				       "%s: tensor %.*s: the file ends inside the table", r->file,
				       len, row->name);
	}
	if (!mdl_rd_u32(r, &row->type_id) || !mdl_rd_u64(r, &row->offset))
		return lt_fail(err, LT_EFORMAT, "%s: tensor %.*s: the file ends inside the table",
			       r->file, len, row->name);
	return 0;
}

static int read_row(struct mdl_rd *r, uint64_t i, struct row *row, struct lt_err *err)
{
	int rc;

	if (!mdl_rd_string(r, &row->name, &row->name_len))
		return lt_fail(err, LT_EFORMAT,
			       "%s: name of tensor %" PRIu64 " runs past the end of the file",
			       r->file, i);
	rc = mdl_dir_check_name(r->file, i, row->name, (size_t)row->name_len, MAX_NAME, err);
	return rc < 0 ? rc : read_dims(r, row, err);
}

static bool type_of(uint32_t id, enum mdl_type *type)
{
	static const int32_t ids[MDL_TYPE_COUNT] = {
#define X(name, ggml, values, bytes) ggml,
		MDL_TYPES(X)
#undef X
	};

	for (int i = 0; i < MDL_TYPE_COUNT; i++) {
		if (ids[i] >= 0 && (uint32_t)ids[i] == id) {
			*type = (enum mdl_type)i;
			return true;
		}
	}
	return false;
}

/* Type, size in bytes and place of a tensor; all that can be wrong with one row by itself. */
static int check_row(const struct mdl_rd *r, const struct row *row, uint64_t data_at,
		     uint32_t align, struct mdl_entry *e, struct lt_err *err)
{
	int len = (int)row->name_len;
	size_t block, n = 1, bytes, end;
	enum mdl_type type;

	if (!type_of(row->type_id, &type))
		return lt_fail(err, LT_EUNSUPPORTED,
			       "%s: tensor %.*s: type id %" PRIu32 " is not supported", r->file,
			       len, row->name, row->type_id);
	block = mdl_type_block_values(type);
	for (uint32_t i = 0; i < row->n_dims; i++) {
		if (row->ne[i] == 0 || !lt_mul(n, row->ne[i], &n))
			return lt_fail(err, LT_EFORMAT,
				       "%s: tensor %.*s: the product of its dimensions is %s",
				       r->file, len, row->name, row->ne[i] ? "too large" : "zero");
	}
	if (row->ne[0] % block)
		return lt_fail(err, LT_EFORMAT,
			       "%s: tensor %.*s: rows of %" PRIu64
			       " values are not a multiple of the %zu of a %s block",
			       r->file, len, row->name, row->ne[0], block, mdl_type_name(type));
	if (row->offset % align)
		return lt_fail(err, LT_EFORMAT,
			       "%s: tensor %.*s: offset %" PRIu64
			       " is not a multiple of the alignment %" PRIu32,
			       r->file, len, row->name, row->offset, align);
	if (!lt_mul(n / block, mdl_type_block_bytes(type), &bytes) ||
	    !lt_add(data_at, row->offset, &e->offset) || !lt_add(e->offset, bytes, &end) ||
	    end > r->size)
		return lt_fail(err, LT_EFORMAT,
			       "%s: tensor %.*s: its data (offset %" PRIu64
			       ") runs past the end of the file",
			       r->file, len, row->name, row->offset);
	e->bytes = bytes;
	e->type = (uint8_t)type;
	e->n_dims = (uint8_t)row->n_dims;
	e->dims_at = row->dims_at;
	return 0;
}

int mdl_gguf_read_tensors(struct mdl_dir *d, struct mdl_rd *r, uint64_t count, uint32_t align,
			  struct lt_err *err)
{
	size_t table = r->at, first = d->n, name_bytes = 0, data_at;
	struct row row;
	int rc = 0;

	/* The shortest row: name 8 + 1, dimensions 4 + 8, type 4, offset 8. */
	if (count > MAX_TENSORS || count > (r->size - r->at) / 33)
		return lt_fail(err, LT_EFORMAT,
			       "%s: %" PRIu64
			       " tensors, at most %u and what fits the file are allowed",
			       r->file, count, MAX_TENSORS);
	for (uint64_t i = 0; i < count && rc == 0; i++) {
		rc = read_row(r, i, &row, err);
		name_bytes += (size_t)row.name_len + 1;
	}
	if (rc < 0)
		return rc;
	if (count == 0) /* a vocabulary alone */
		return 0;
	if (!lt_add(r->at, align - 1, &data_at))
		return lt_fail(err, LT_EFORMAT, "%s: no room for the data", r->file);
	data_at -= data_at % align;
	rc = mdl_dir_reserve(d, (size_t)count, name_bytes, err);
	r->at = table;
	for (uint64_t i = 0; i < count && rc == 0; i++) {
		struct mdl_entry e = {.file = (uint16_t)(d->n_files - 1)};
		rc = read_row(r, i, &row, err);
		if (rc == 0)
			rc = check_row(r, &row, data_at, align, &e, err);
		if (rc == 0)
			mdl_dir_add(d, &e, row.name, (size_t)row.name_len);
	}
	return rc < 0 ? rc : mdl_dir_check_ranges(d, first, data_at, r->size, false, err);
}
