/*
 * GGUF files, private to model/. Layout (version 2 and 3, little-endian):
 *
 *   "GGUF", u32 version, u64 tensors, u64 keys
 *   keys    x { string key, u32 kind, value }       string: u64 length, bytes
 *   tensors x { string name, u32 n_dims, u64 ne[n_dims] (fastest first), u32 type, u64 offset }
 *   padding to general.alignment (32), then the data; offsets count from there
 *
 * A split set is `NAME-00001-of-0000N.gguf` and its brothers: the first part has the metadata, each
 * has its own tensors. The object maps all parts; strings and arrays point into the mapping and
 * live as long as it. Immutable once open: any thread may read.
 */
#ifndef LT_MODEL_GGUF_H
#define LT_MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/dir.h"

struct mdl_gguf;

enum mdl_gguf_kind {
	MDL_GGUF_U8,
	MDL_GGUF_I8,
	MDL_GGUF_U16,
	MDL_GGUF_I16,
	MDL_GGUF_U32,
	MDL_GGUF_I32,
	MDL_GGUF_F32,
	MDL_GGUF_BOOL,
	MDL_GGUF_STRING,
	MDL_GGUF_ARRAY,
	MDL_GGUF_U64,
	MDL_GGUF_I64,
	MDL_GGUF_F64,
	MDL_GGUF_KIND_COUNT
};

/* True if the file begins with GGUF's magic bytes. */
bool mdl_gguf_is(const char *path);

/* Opens a GGUF file, or a split set by its first part. Every length, count, offset and size of
 * header, metadata and tensor table is checked here. LT_ENOENT, LT_EIO, LT_EINVAL, LT_EFORMAT,
 * LT_EUNSUPPORTED (version, byte order, tensor type), LT_ENOMEM; err names file, key or tensor. */
int mdl_gguf_open(const char *path, struct mdl_gguf **out, struct lt_err *err);
void mdl_gguf_close(struct mdl_gguf *g); /* NULL is fine */

/* All tensors of all parts. */
const struct mdl_dir *mdl_gguf_dir(const struct mdl_gguf *g);
/* The first part's file name, for messages. */
const char *mdl_gguf_file(const struct mdl_gguf *g);

/* Typed metadata. An absent key returns 0 and leaves *out as the caller set it; a key of another
 * kind, or a value out of range, is LT_EFORMAT with file and key in err. */
bool mdl_gguf_has(const struct mdl_gguf *g, const char *key);
int mdl_gguf_u32(const struct mdl_gguf *g, const char *key, uint32_t *out, struct lt_err *err);
int mdl_gguf_f64(const struct mdl_gguf *g, const char *key, double *out, struct lt_err *err);
int mdl_gguf_bool(const struct mdl_gguf *g, const char *key, bool *out, struct lt_err *err);
/* Not NUL-terminated, any bytes. */
int mdl_gguf_string(const struct mdl_gguf *g, const char *key, const char **s, size_t *n,
		    struct lt_err *err);

/* An array that is read from front to back: `left` items are still to come. */
struct mdl_gguf_array {
	enum mdl_gguf_kind kind; /* of the items */
	uint64_t left;
	const unsigned char *at;
};
/* Looks an array up whose items are strings, integers (any width, or bool) or floats, as `want`
 * says: MDL_GGUF_STRING, MDL_GGUF_I64 or MDL_GGUF_F64. Absent: left is 0. */
int mdl_gguf_array(const struct mdl_gguf *g, const char *key, enum mdl_gguf_kind want,
		   struct mdl_gguf_array *out, struct lt_err *err);
/* The next item; false at the end. */
bool mdl_gguf_next_string(struct mdl_gguf_array *a, const char **s, size_t *n);
bool mdl_gguf_next_int(struct mdl_gguf_array *a, int64_t *v);
bool mdl_gguf_next_float(struct mdl_gguf_array *a, double *v);

#endif
