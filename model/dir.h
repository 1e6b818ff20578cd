/*
 * The tensor directory: what tensors the weight files of a checkpoint hold, by name. Private to
 * model/; filled by safetensors.c and gguf-tensors.c, read by checkpoint.c. Owns the mappings of
 * its files. Immutable once indexed.
 *
 * An entry is kept small (32 bytes, its name in one arena, its shape left in the file) because a
 * hostile header may name millions of tensors: the directory never outgrows the header much.
 */
#ifndef LT_MODEL_DIR_H
#define LT_MODEL_DIR_H

#include "base/file.h"
#include "model/tensor.h"

#define MDL_DIR_DIMS  8u
#define MDL_DIR_FILES 4096u
#define MDL_DIR_NAME  256u /* longest tensor name, bytes */

struct mdl_file {
	struct lt_mapping map;
	char *name; /* last part of the path, for messages */
};

struct mdl_entry {
	uint64_t offset; /* of the data, from the start of the file */
	uint64_t bytes;
	uint64_t dims_at; /* offset of the shape in the file */
	uint32_t name;	  /* offset in the arena; NUL-terminated there */
	uint16_t file;
	uint8_t type; /* enum mdl_type; MDL_TYPE_COUNT: one that the forward pass can't use */
	uint8_t n_dims;
};

struct mdl_dir {
	bool gguf; /* how the shapes are written */
	struct mdl_file *files;
	size_t n_files;
	struct mdl_entry *entries;
	size_t n, cap;
	char *names;
	size_t names_used, names_cap;
	uint32_t *order; /* [n] entries sorted by name */
};

void mdl_dir_fini(struct mdl_dir *d);

/* Maps `path` as the next file. LT_ETOOBIG past MDL_DIR_FILES, and as lt_map_file. */
int mdl_dir_map(struct mdl_dir *d, const char *path, struct lt_err *err);

/* Room for n more entries whose names take `name_bytes` with their NULs. LT_ENOMEM, LT_ETOOBIG. */
int mdl_dir_reserve(struct mdl_dir *d, size_t n, size_t name_bytes, struct lt_err *err);

/* Adds an entry (within what was reserved); name[0..len) is copied. */
void mdl_dir_add(struct mdl_dir *d, const struct mdl_entry *e, const char *name, size_t len);

/* LT_EFORMAT unless name[0..len) is 1..max bytes of UTF-8 without control characters. `file` and
 * `i` (which tensor) are for the message. */
int mdl_dir_check_name(const char *file, uint64_t i, const char *name, size_t len, size_t max,
		       struct lt_err *err);

/* Checks that entries [first, n), all of one file, don't overlap; with `tight` that they cover
 * [begin, end) without a gap (the safetensors rule). LT_EFORMAT, LT_ENOMEM. */
int mdl_dir_check_ranges(const struct mdl_dir *d, size_t first, uint64_t begin, uint64_t end,
			 bool tight, struct lt_err *err);

/* Sorts by name; LT_EFORMAT when a name stands twice. To be called once, after the last add. */
int mdl_dir_index(struct mdl_dir *d, struct lt_err *err);

/* The entry of that name, NULL if there is none. */
const struct mdl_entry *mdl_dir_find(const struct mdl_dir *d, const char *name);

static inline const char *mdl_dir_name(const struct mdl_dir *d, const struct mdl_entry *e)
{
	return d->names + e->name;
}

static inline const char *mdl_dir_file(const struct mdl_dir *d, const struct mdl_entry *e)
{
	return d->files[e->file].name;
}

static inline const unsigned char *mdl_dir_data(const struct mdl_dir *d, const struct mdl_entry *e)
{
	return d->files[e->file].map.data + e->offset;
}

/* The shape, slowest dimension first: dims [n_dims]. */
void mdl_dir_dims(const struct mdl_dir *d, const struct mdl_entry *e, uint64_t dims[MDL_DIR_DIMS]);

#endif
