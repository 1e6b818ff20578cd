/*
 * The cursor over a mapped GGUF file that gguf.c (metadata) and gguf-tensors.c (tensor table)
 * share. Each read checks that the bytes are there and moves on, or returns false.
 */
#ifndef LT_MODEL_GGUF_READ_H
#define LT_MODEL_GGUF_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/dir.h"

struct mdl_rd {
	const unsigned char *data;
	size_t size, at;
	const char *file; /* for messages */
};

bool mdl_rd_skip(struct mdl_rd *r, uint64_t n);
bool mdl_rd_u32(struct mdl_rd *r, uint32_t *v);
bool mdl_rd_u64(struct mdl_rd *r, uint64_t *v);
/* A u64 length and that many bytes. */
bool mdl_rd_string(struct mdl_rd *r, const char **s, uint64_t *n);

/* Reads the table of `count` tensors at r, of the directory's last file, into the directory. */
int mdl_gguf_read_tensors(struct mdl_dir *d, struct mdl_rd *r, uint64_t count, uint32_t align,
			  struct lt_err *err);

#endif
