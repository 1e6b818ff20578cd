/*
 * Files. The mapping stays valid after the descriptor is closed; a file that shrinks under us
 * raises SIGBUS, which for a checkpoint means that somebody overwrote it in place: not survivable.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

static int open_regular(const char *path, int *fd, size_t *size, struct lt_err *err)
{
	struct stat st;

	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
		return lt_fail(err, errno == ENOENT ? LT_ENOENT : LT_EIO, "%s: %s", path,
			       strerror(errno));
	if (fstat(*fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(*fd);
		return lt_fail(err, LT_EINVAL, "%s: not a regular file", path);
	}
	*size = (size_t)st.st_size;
	return 0;
}

int lt_map_file(const char *path, struct lt_mapping *out, struct lt_err *err)
{
	void *p = NULL;
	size_t size;
	int fd, rc;

	rc = open_regular(path, &fd, &size, err);
	if (rc < 0)
		return rc;
	if (size)
		p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return lt_fail(err, LT_EIO, "%s: cannot map: %s", path, strerror(errno));
	out->data = p;
	out->size = size;
	return 0;
}

void lt_unmap_file(struct lt_mapping *m)
{
	if (m->data)
		munmap((void *)(uintptr_t)m->data, m->size);
	m->data = NULL;
	m->size = 0;
}

int lt_read_file(const char *path, size_t limit, char **data, size_t *n, struct lt_err *err)
{
	struct lt_buf b;
	size_t size;
	int fd, rc;

	rc = open_regular(path, &fd, &size, err);
	if (rc < 0)
		return rc;
	if (size > limit) {
		close(fd);
		return lt_fail(err, LT_ETOOBIG, "%s: %zu bytes, at most %zu are allowed", path,
			       size, limit);
	}
	lt_buf_init(&b, limit);
	for (;;) {
		size_t want = size > b.len ? size - b.len : 1;
		char *room = b.len < limit ? lt_buf_room(&b, want) : NULL;
		ssize_t got;
		if (!room)
			break;
		got = read(fd, room, want);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			rc = lt_fail(err, LT_EIO, "%s: %s", path, strerror(errno));
			break;
		}
		if (got == 0)
			break;
		lt_buf_commit(&b, (size_t)got);
	}
	close(fd);
	if (rc == 0 && b.failed)
		rc = lt_fail(err, b.failed, "%s: %s", path, lt_error_text(b.failed));
	*data = rc == 0 ? lt_buf_take(&b, n) : NULL;
	if (rc == 0 && !*data)
		rc = lt_fail(err, LT_ENOMEM, "%s: out of memory", path);
	lt_buf_fini(&b);
	return rc;
}

bool lt_is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool lt_is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

char *lt_path_join(const char *dir, const char *name)
{
	struct lt_buf b = LT_BUF_INIT;

	lt_buf_addf(&b, "%s%s%s", dir, *dir && dir[strlen(dir) - 1] == '/' ? "" : "/", name);
	return lt_buf_take(&b, NULL);
}
