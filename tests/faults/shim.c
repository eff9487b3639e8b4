/* A disk that can be recorded and broken, for LD_PRELOAD under a relay.
 *
 * KURIR_SHIM_DB    the database; its -wal and -journal and its folder are watched as well
 * KURIR_SHIM_LOG   where each change is recorded, in order; a sync is then only recorded, for the
 *                  record is the disk (optional)
 * KURIR_SHIM_FAIL  a file with an errno: while it holds one, nothing can be written, or with an s
 *                  behind it, nothing can be synced (optional)
 *
 * A record is: what (1 byte), which file (1), offset (8), length (8), then the data of a write.
 *   what: o made, w written, s synced, t cut, u removed    file: d database, w log, j journal, D folder
 * The shared memory file (-shm) is left out: it is made anew after a crash.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 4096
#define REAL(name) ((__typeof__(&name))real(#name))

static char watched[MOST]; /* by descriptor */
static int log_fd = -1;
static const char *db, *fail_file;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("KURIR_SHIM_LOG");
    db = getenv("KURIR_SHIM_DB");
    fail_file = getenv("KURIR_SHIM_FAIL");
    if (log != NULL)
        log_fd = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static char kind_of(const char *path) {
    size_t length;
    const char *slash;
    if (db == NULL || path == NULL)
        return 0;
    length = strlen(db);
    if (strncmp(path, db, length) == 0) {
        if (path[length] == 0)
            return 'd';
        if (strcmp(path + length, "-wal") == 0)
            return 'w';
        if (strcmp(path + length, "-journal") == 0)
            return 'j';
    }
    slash = strrchr(db, '/');
    if (slash != NULL && strlen(path) == (size_t)(slash - db) && strncmp(path, db, slash - db) == 0)
        return 'D';
    return 0;
}

static char kind(int fd) { return fd >= 0 && fd < MOST ? watched[fd] : 0; }

static int fails(int is_sync) {
    char text[16] = {0};
    int fd, code = 0;
    if (fail_file == NULL || (fd = REAL(open)(fail_file, O_RDONLY)) < 0)
        return 0;
    if (read(fd, text, sizeof text - 1) > 0)
        code = atoi(text);
    close(fd);
    if (code == 0 || (!is_sync && strchr(text, 's') != NULL))
        return 0;
    errno = code;
    return 1;
}

static void note(char what, char file, uint64_t offset, const void *data, uint64_t length) {
    char head[18] = {what, file};
    struct iovec parts[2] = {{head, sizeof head}, {(void *)data, data ? length : 0}};
    int kept = errno;
    if (log_fd < 0 || file == 0)
        return;
    memcpy(head + 2, &offset, 8);
    memcpy(head + 10, &length, 8);
    pthread_mutex_lock(&lock);
    if (writev(log_fd, parts, 2) != (ssize_t)(sizeof head + parts[1].iov_len))
        abort(); /* a record with a hole would prove nothing */
    pthread_mutex_unlock(&lock);
    errno = kept;
}

static int opened(int fd, const char *path, int is_new) {
    if (fd >= 0 && fd < MOST) {
        watched[fd] = kind_of(path);
        if (is_new && watched[fd] && watched[fd] != 'D')
            note('o', watched[fd], 0, NULL, 0);
    }
    return fd;
}

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        mode_t mode = 0;                                                  \
        int is_new = (flags & O_CREAT) && access(path, F_OK) != 0;        \
        if (flags & O_CREAT) {                                            \
            va_list rest;                                                 \
            va_start(rest, flags);                                        \
            mode = va_arg(rest, mode_t);                                  \
            va_end(rest);                                                 \
        }                                                                 \
        return opened(REAL(name)(path, flags, mode), path, is_new);        \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (fd >= 0 && fd < MOST)
        watched[fd] = 0;
    return REAL(close)(fd);
}

#define PWRITE(name, offset_type)                                                     \
    ssize_t name(int fd, const void *data, size_t length, offset_type offset) {       \
        ssize_t done;                                                                 \
        if (kind(fd) && fails(0))                                                      \
            return -1;                                                                \
        done = REAL(name)(fd, data, length, offset);                                  \
        if (done > 0)                                                                 \
            note('w', kind(fd), (uint64_t)offset, data, (uint64_t)done);              \
        return done;                                                                  \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t length) {
    off_t offset = 0;
    ssize_t done;
    if (kind(fd)) {
        if (fails(0))
            return -1;
        offset = lseek(fd, 0, SEEK_CUR);
    }
    done = REAL(write)(fd, data, length);
    if (done > 0)
        note('w', kind(fd), (uint64_t)offset, data, (uint64_t)done);
    return done;
}

#define CUT(name, offset_type)                                \
    int name(int fd, offset_type length) {                    \
        int done;                                             \
        if (kind(fd) && fails(0))                              \
            return -1;                                        \
        done = REAL(name)(fd, length);                        \
        if (done == 0)                                        \
            note('t', kind(fd), (uint64_t)length, NULL, 0);   \
        return done;                                          \
    }
CUT(ftruncate, off_t)
CUT(ftruncate64, off64_t)

#define SYNC(name)                                  \
    int name(int fd) {                              \
        int done;                                   \
        if (kind(fd) && fails(1))                   \
            return -1;                              \
        done = kind(fd) && log_fd >= 0 ? 0 : REAL(name)(fd); \
        if (done == 0)                              \
            note('s', kind(fd), 0, NULL, 0);        \
        return done;                                \
    }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path) {
    int done;
    if (kind_of(path) && fails(0))
        return -1;
    done = REAL(unlink)(path);
    if (done == 0)
        note('u', kind_of(path), 0, NULL, 0);
    return done;
}
