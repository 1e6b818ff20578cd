/*
 * Safetensors files, private to model/ (the public part stands in model/checkpoint.h). Layout:
 * u64 n; n bytes of JSON {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {...}};
 * then the data, row-major, without gaps, offsets counted from its start.
 */
#ifndef LT_MODEL_SAFETENSORS_H
#define LT_MODEL_SAFETENSORS_H

#include "model/dir.h"

/* Reads the header of the directory's last file into the directory. LT_EFORMAT, LT_ENOMEM. */
int mdl_safetensors_read(struct mdl_dir *d, struct lt_err *err);

#endif
