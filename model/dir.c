/*
 * The tensor directory (model/dir.h): entries, their names in one arena, an order by name.
 *
 * Lookup is a binary search over names sorted once: no hash that a hostile file could aim at, no
 * memory beyond four bytes an entry, and a published checkpoint's names come nearly sorted.
 */
#define _GNU_SOURCE /* qsort_r */

#include "model/dir.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

void mdl_dir_fini(struct mdl_dir *d)
{
	for (size_t i = 0; i < d->n_files; i++) {
		lt_unmap_file(&d->files[i].map);
		free(d->files[i].name);
	}
	free(d->files);
	free(d->entries);
	free(d->names);
	free(d->order);
	memset(d, 0, sizeof(*d));
}

int mdl_dir_map(struct mdl_dir *d, const char *path, struct lt_err *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	struct mdl_file f;
	int rc;

	if (d->n_files == MDL_DIR_FILES)
		return lt_fail(err, LT_ETOOBIG, "%s: more than %u weight files", name,
			       MDL_DIR_FILES);
	rc = lt_map_file(path, &f.map, err);
	if (rc < 0)
		return rc;
	f.name = lt_strndup(name, strlen(name));
	if (!f.name || lt_resize(&d->files, d->n_files + 1, sizeof(*d->files)) < 0) {
		lt_unmap_file(&f.map);
		free(f.name);
		return lt_fail(err, LT_ENOMEM, "%s: out of memory", path);
	}
	d->files[d->n_files++] = f;
	return 0;
}

int mdl_dir_reserve(struct mdl_dir *d, size_t n, size_t name_bytes, struct lt_err *err)
{
	size_t cap, bytes;

	if (!lt_add(d->n, n, &cap) || !lt_add(d->names_used, name_bytes, &bytes) ||
	    cap > UINT32_MAX || bytes > UINT32_MAX)
		return lt_fail(err, LT_ETOOBIG, "more than 2^32 bytes of tensor names");
	if (lt_resize(&d->entries, cap, sizeof(*d->entries)) < 0 ||
	    lt_resize(&d->names, bytes, 1) < 0)
		return lt_fail(err, LT_ENOMEM, "out of memory for a table of %zu tensors", cap);
	d->cap = cap;
	d->names_cap = bytes;
	return 0;
}

void mdl_dir_add(struct mdl_dir *d, const struct mdl_entry *e, const char *name, size_t len)
{
	LT_ASSERT(d->n < d->cap && len < d->names_cap - d->names_used);
	d->entries[d->n] = *e;
	d->entries[d->n++].name = (uint32_t)d->names_used;
	memcpy(d->names + d->names_used, name, len);
	d->names[d->names_used + len] = '\0';
	d->names_used += len + 1;
}

int mdl_dir_check_name(const char *file, uint64_t i, const char *name, size_t len, size_t max,
		       struct lt_err *err)
{
	size_t bad;

	if (len == 0 || len > max)
		return lt_fail(err, LT_EFORMAT,
			       "%s: tensor %" PRIu64
			       ": name of %zu bytes, 1 to %zu bytes are allowed",
			       file, i, len, max);
	if (!lt_utf8_valid(name, len, &bad))
		return lt_fail(err, LT_EFORMAT, "%s: tensor %" PRIu64 ": name is not valid UTF-8",
			       file, i);
	for (size_t k = 0; k < len; k++) {
		if ((unsigned char)name[k] < 0x20 || name[k] == 0x7f)
			return lt_fail(err, LT_EFORMAT,
				       "%s: tensor %" PRIu64
				       ": control character 0x%02x in the name",
				       file, i, (unsigned char)name[k]);
	}
	return 0;
}

static int by_offset(const void *a, const void *b, void *arg)
{
	const struct mdl_dir *d = arg;
	const struct mdl_entry *x = &d->entries[*(const uint32_t *)a];
	const struct mdl_entry *y = &d->entries[*(const uint32_t *)b];

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int check_ordered(const struct mdl_dir *d, const uint32_t *order, size_t n, uint64_t begin,
			 uint64_t end, bool tight, struct lt_err *err)
{
	const struct mdl_entry *prev = NULL;
	uint64_t at = begin;

	for (size_t i = 0; i < n; i++) {
		const struct mdl_entry *e = &d->entries[order[i]];
		if (e->offset < at && (e->bytes || tight))
			return lt_fail(err, LT_EFORMAT, "%s: data of tensor %s overlaps that of %s",
				       mdl_dir_file(d, e), mdl_dir_name(d, e),
				       prev ? mdl_dir_name(d, prev) : "the header");
		if (tight && e->offset > at)
			return lt_fail(err, LT_EFORMAT,
				       "%s: %" PRIu64
				       " bytes before the data of tensor %s belong to no tensor",
				       mdl_dir_file(d, e), e->offset - at, mdl_dir_name(d, e));
		if (e->bytes) {
			at = e->offset + e->bytes;
			prev = e;
		}
	}
	if (tight && at != end)
		return lt_fail(err, LT_EFORMAT,
			       "%s: %" PRIu64 " bytes after the last tensor belong to no tensor",
			       d->files[d->n_files - 1].name, end - at);
	return 0;
}

int mdl_dir_check_ranges(const struct mdl_dir *d, size_t first, uint64_t begin, uint64_t end,
			 bool tight, struct lt_err *err)
{
	size_t n = d->n - first;
	uint32_t *order = lt_alloc(n, sizeof(*order));
	int rc;

	if (!order)
		return lt_fail(err, LT_ENOMEM, "out of memory for a table of %zu tensors", n);
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)(first + i);
	qsort_r(order, n, sizeof(*order), by_offset, (void *)(uintptr_t)d);
	rc = check_ordered(d, order, n, begin, end, tight, err);
	free(order);
	return rc;
}

static int by_name(const void *a, const void *b, void *arg)
{
	const struct mdl_dir *d = arg;

	return strcmp(mdl_dir_name(d, &d->entries[*(const uint32_t *)a]),
		      mdl_dir_name(d, &d->entries[*(const uint32_t *)b]));
}

int mdl_dir_index(struct mdl_dir *d, struct lt_err *err)
{
	LT_ASSERT(!d->order);
	d->order = lt_alloc(d->n, sizeof(*d->order));
	if (!d->order)
		return lt_fail(err, LT_ENOMEM, "out of memory for a table of %zu tensors", d->n);
	for (size_t i = 0; i < d->n; i++)
		d->order[i] = (uint32_t)i;
	qsort_r(d->order, d->n, sizeof(*d->order), by_name, d);
	for (size_t i = 1; i < d->n; i++) {
		const struct mdl_entry *a = &d->entries[d->order[i - 1]];
		const struct mdl_entry *b = &d->entries[d->order[i]];
		if (strcmp(mdl_dir_name(d, a), mdl_dir_name(d, b)) != 0)
			continue;
		if (a->file == b->file)
			return lt_fail(err, LT_EFORMAT, "%s: tensor %s stands there twice",
				       mdl_dir_file(d, a), mdl_dir_name(d, a));
		return lt_fail(err, LT_EFORMAT, "tensor %s stands twice: in %s and in %s",
			       mdl_dir_name(d, a), mdl_dir_file(d, a), mdl_dir_file(d, b));
	}
	return 0;
}

const struct mdl_entry *mdl_dir_find(const struct mdl_dir *d, const char *name)
{
	size_t lo = 0, hi = d->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct mdl_entry *e = &d->entries[d->order[mid]];
		int c = strcmp(mdl_dir_name(d, e), name);
		if (c == 0)
			return e;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* The shape's text was checked when the header was read: '[', numbers and commas, ']'. */
static void dims_of_text(const unsigned char *at, uint32_t n_dims, uint64_t *dims)
{
	for (uint32_t i = 0; i < n_dims; i++) {
		dims[i] = 0;
		while (*at < '0' || *at > '9')
			at++;
		for (; *at >= '0' && *at <= '9'; at++)
			dims[i] = dims[i] * 10 + (uint64_t)(*at - '0');
	}
}

void mdl_dir_dims(const struct mdl_dir *d, const struct mdl_entry *e, uint64_t dims[MDL_DIR_DIMS])
{
	const unsigned char *at = d->files[e->file].map.data + e->dims_at;

	if (!d->gguf) {
		dims_of_text(at, e->n_dims, dims);
		return;
	}
	for (uint32_t i = 0; i < e->n_dims; i++)
		memcpy(&dims[e->n_dims - 1 - i], at + 8 * (size_t)i, 8);
}
