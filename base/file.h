/*
 * Files: read-only mappings (checkpoints) and whole small files (configuration, JSON).
 */
#ifndef LT_BASE_FILE_H
#define LT_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* A file mapped read-only. `data` is NULL for an empty file. */
struct lt_mapping {
	const unsigned char *data;
	size_t size;
};

/* Maps a regular file. LT_ENOENT, LT_EIO or LT_EINVAL (not a regular file), with path in err. */
int lt_map_file(const char *path, struct lt_mapping *out, struct lt_err *err);
void lt_unmap_file(struct lt_mapping *m);

/* Reads a whole regular file of at most `limit` bytes; *data is NUL-terminated (the NUL not counted
 * in *n) and the caller frees it. LT_ENOENT, LT_EIO, LT_EINVAL, LT_ETOOBIG, LT_ENOMEM. */
int lt_read_file(const char *path, size_t limit, char **data, size_t *n, struct lt_err *err);

bool lt_is_dir(const char *path);
bool lt_is_file(const char *path);

/* dir + "/" + name, for the caller to free; NULL without memory. */
char *lt_path_join(const char *dir, const char *name);

#endif
