/* Stands between a process and the C library (LD_PRELOAD): counts the calls that change what is below a directory,
 * and at the n-th of them kills the process, before it or half-way through a write, or lets it fail, or records all.
 *
 * With a gate (tests/interleave) a process says before each call, looks and locks too, which it is, and waits until it
 * is let go on: of several processes only one is at work then. One that would sleep, or wait for a lock, says so.
 *
 * Blind to: raw system calls, io_uring, and stores through a mapping (SQLite's -shm, which no power loss keeps).
 * State is shared with children that are forked, so that a parent reads what one of them reached before it died, and,
 * through the file that SHIM_STATE names, with the programs that they run. Death is that of the whole process group.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { CREATE = 1, WRITE, TRUNCATE, SYNC, LINK, RENAME, UNLINK, MKDIR, RMDIR, OPEN, ATTRIBUTES, MARK, SYMLINK,
            READ, LOOK, LOCK, UNLOCK, WAIT };
enum mode { COUNT, KILL, TORN, SHORT, ERROR, STICKY };

static struct state {
    int mode, number, error, kinds; /* `kinds`: which count, one bit each */
    int count;                      /* calls so far that counted */
    int kind;                       /* of the n-th, 0 if it was not reached */
    int trace;                      /* descriptor that the calls are recorded to, or -1: not in programs that are run */
    int begun;
    char prefix[PATH_MAX], path[PATH_MAX];
} *state;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int is_run; /* by a process that watches already */

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("SHIM_STATE");
    int fd = name ? syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC) : -1;
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    if (fd >= 0) close(fd);
    is_run = state->begun;
    if (!is_run) state->begun = 1, state->trace = -1;
}

void shim_arm(const char *prefix, int mode, int number, int error, int kinds, int trace) {
    state->mode = mode, state->number = number, state->error = error, state->kinds = kinds, state->trace = trace;
    state->count = state->kind = 0;
    state->path[0] = 0;
    strncpy(state->prefix, prefix, PATH_MAX - 1);
}
void shim_disarm(void) { state->prefix[0] = 0; }
int shim_count(void) { return state->count; }
int shim_kind(void) { return state->kind; }
const char *shim_path(void) { return state->path; }

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* The absolute path of what (dir, name) is; of a descriptor where name is NULL. Whether it is below the prefix. */
static int inside(int dir, const char *name, char *path) {
    size_t length = strlen(state ? state->prefix : "");
    if (!length) return 0;
    int saved = errno;
    path[0] = 0;
    if (name && name[0] == '/') {
        strncpy(path, name, PATH_MAX - 1);
    } else {
        char link[64];
        if (dir == AT_FDCWD) strcpy(link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t got = readlink(link, path, PATH_MAX / 2);
        path[got > 0 ? got : 0] = 0;
        if (name) {
            strcat(path, "/");
            strncat(path, name, PATH_MAX / 2 - 2);
        }
    }
    errno = saved;
    return !strncmp(path, state->prefix, length) && (path[length] == '/' || !path[length]);
}

static void record(int kind, const char *path, const char *other, int fd, int64_t offset, const void *data, size_t size) {
    int saved = errno;
    if (state->trace >= 0 && !is_run) {
        struct stat status = {0};
        if (fd >= 0) fstat(fd, &status);
        else if (kind == MKDIR) lstat(path, &status);
        struct { int32_t kind, directory, path, other; int64_t inode, offset, size, data; } head = {
            kind, S_ISDIR(status.st_mode), strlen(path), other ? strlen(other) : 0,
            status.st_ino, offset, size, data ? size : 0};
        pthread_mutex_lock(&mutex);
        struct iovec parts[] = {{&head, sizeof head}, {(void *)path, head.path}, {(void *)other, head.other},
                                {(void *)data, head.data}};
        syscall(SYS_writev, state->trace, parts, 4);
        pthread_mutex_unlock(&mutex);
    }
    errno = saved;
}

/* The gate of this process: a socket to who lets it go on, and the kinds of call that wait there, one bit each. */
static int gate_fd = -1, gated, lockless;
static pthread_mutex_t gate_mutex = PTHREAD_MUTEX_INITIALIZER;

void shim_gate(int fd, int kinds) { gate_fd = fd, gated = kinds, lockless = 0; }

/* Until the next gate flock says yes to everybody: the control, in which others must be able to lose something. */
void shim_lockless(void) { lockless = 1; }

static void gate(int kind, const char *text) {
    if (gate_fd < 0 || !(gated >> kind & 1)) return;
    int saved = errno;
    char number = kind, go;
    struct iovec parts[] = {{&number, 1}, {(void *)text, strlen(text)}};
    pthread_mutex_lock(&gate_mutex);
    if (syscall(SYS_writev, gate_fd, parts, 2) <= 0 || syscall(SYS_read, gate_fd, &go, 1) <= 0)
        syscall(SYS_kill, getpid(), SIGKILL); /* There is nobody any more to let it go on. */
    pthread_mutex_unlock(&gate_mutex);
    errno = saved;
}

/* Puts an acknowledgement between the calls. */
void shim_mark(const char *text) {
    gate(MARK, text);
    if (state->trace >= 0) record(MARK, text, NULL, -1, 0, NULL, 0);
}

/* What is to become of a call: 0 nothing; 1 it fails, with errno set; 2 (writes) half of it is done. */
static int fate(int kind, const char *path) {
    gate(kind, path);
    if (!(state->kinds >> kind & 1)) return 0;
    int count = __sync_add_and_fetch(&state->count, 1);
    if (state->mode == COUNT || count < state->number) return 0;
    if (count == state->number) {
        state->kind = kind;
        strcpy(state->path, path);
    } else if (state->mode != STICKY) {
        return 0;
    }
    switch (state->mode) {
    case KILL: syscall(SYS_kill, 0, SIGKILL); for (;;) pause();
    case TORN: case SHORT: return 2;
    }
    errno = state->error;
    return 1;
}
static void half_done(void) { if (state->mode == TORN) { syscall(SYS_kill, 0, SIGKILL); for (;;) pause(); } }

/* Calls that name what they change. */
#define NAMED(kind, dir, name, result, call, keep) do { \
    char path[PATH_MAX]; \
    if (!inside(dir, name, path)) return call; \
    if (fate(kind, path)) return -1; \
    result done = call; \
    if (done >= 0) keep; \
    return done; } while (0)

int unlink(const char *a) { REAL(unlink); NAMED(UNLINK, AT_FDCWD, a, int, real(a), record(UNLINK, path, NULL, -1, 0, NULL, 0)); }
int remove(const char *a) { REAL(remove); NAMED(UNLINK, AT_FDCWD, a, int, real(a), record(UNLINK, path, NULL, -1, 0, NULL, 0)); }
int unlinkat(int d, const char *a, int flags) {
    REAL(unlinkat);
    int kind = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    NAMED(kind, d, a, int, real(d, a, flags), record(kind, path, NULL, -1, 0, NULL, 0));
}
int rmdir(const char *a) { REAL(rmdir); NAMED(RMDIR, AT_FDCWD, a, int, real(a), record(RMDIR, path, NULL, -1, 0, NULL, 0)); }
int mkdir(const char *a, mode_t m) { REAL(mkdir); NAMED(MKDIR, AT_FDCWD, a, int, real(a, m), record(MKDIR, path, NULL, -1, 0, NULL, 0)); }
int mkdirat(int d, const char *a, mode_t m) { REAL(mkdirat); NAMED(MKDIR, d, a, int, real(d, a, m), record(MKDIR, path, NULL, -1, 0, NULL, 0)); }

#define TWO(kind, da, a, db, b, call) do { \
    char from[PATH_MAX], path[PATH_MAX]; \
    int in = inside(da, a, from); \
    if (!inside(db, b, path) && !in) return call; \
    if (fate(kind, path)) return -1; \
    int done = call; \
    if (done >= 0) record(kind, from, path, -1, 0, NULL, 0); \
    return done; } while (0)

int rename(const char *a, const char *b) { REAL(rename); TWO(RENAME, AT_FDCWD, a, AT_FDCWD, b, real(a, b)); }
int renameat(int d, const char *a, int e, const char *b) { REAL(renameat); TWO(RENAME, d, a, e, b, real(d, a, e, b)); }
int renameat2(int d, const char *a, int e, const char *b, unsigned f) { REAL(renameat2); TWO(RENAME, d, a, e, b, real(d, a, e, b, f)); }
int link(const char *a, const char *b) { REAL(link); TWO(LINK, AT_FDCWD, a, AT_FDCWD, b, real(a, b)); }
int linkat(int d, const char *a, int e, const char *b, int f) { REAL(linkat); TWO(LINK, d, a, e, b, real(d, a, e, b, f)); }

int symlink(const char *to, const char *a) { REAL(symlink); NAMED(SYMLINK, AT_FDCWD, a, int, real(to, a), record(SYMLINK, path, to, -1, 0, NULL, 0)); }
int symlinkat(const char *to, int d, const char *a) { REAL(symlinkat); NAMED(SYMLINK, d, a, int, real(to, d, a), record(SYMLINK, path, to, -1, 0, NULL, 0)); }

static int opened(int (*real)(int, const char *, int, ...), int dir, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (!inside(dir, name, path)) return real(dir, name, flags, mode);
    struct stat status;
    int saved = errno;
    int is_new = flags & O_CREAT && lstat(path, &status);
    errno = saved;
    int kind = is_new ? CREATE : flags & O_TRUNC ? TRUNCATE : OPEN;
    if (fate(kind, path)) return -1;
    int fd = real(dir, name, flags, mode);
    if (fd >= 0 && kind != OPEN) record(kind, path, NULL, fd, 0, NULL, 0);
    return fd;
}
#define MODE mode_t mode = 0; if (flags & (O_CREAT | __O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
typedef int (*at_t)(int, const char *, int, ...);
static at_t openat_real(void) { static at_t real; if (!real) real = (at_t)dlsym(RTLD_NEXT, "openat"); return real; }
int open(const char *a, int flags, ...) { MODE return opened(openat_real(), AT_FDCWD, a, flags, mode); }
int open64(const char *a, int flags, ...) { MODE return opened(openat_real(), AT_FDCWD, a, flags | O_LARGEFILE, mode); }
int openat(int d, const char *a, int flags, ...) { MODE return opened(openat_real(), d, a, flags, mode); }
int openat64(int d, const char *a, int flags, ...) { MODE return opened(openat_real(), d, a, flags | O_LARGEFILE, mode); }
int creat(const char *a, mode_t m) { return opened(openat_real(), AT_FDCWD, a, O_CREAT | O_WRONLY | O_TRUNC, m); }
int creat64(const char *a, mode_t m) { return creat(a, m); }

/* Calls on descriptors. */
static ssize_t written(int fd, const struct iovec *parts, int many, int64_t offset) {
    char path[PATH_MAX];
    int is_inside = inside(fd, NULL, path);
    int own = is_inside ? fate(WRITE, path) : 0;
    if (own == 1) return -1;
    size_t whole = 0;
    for (int at = 0; at < many; at++) whole += parts[at].iov_len;
    if (!is_inside) return offset < 0 ? syscall(SYS_writev, fd, parts, many) : syscall(SYS_pwritev, fd, parts, many, offset, 0);
    char *data = malloc(whole + 1);
    size_t end = 0;
    for (int at = 0; at < many; end += parts[at++].iov_len) memcpy(data + end, parts[at].iov_base, parts[at].iov_len);
    size_t length = own == 2 ? (whole + 1) / 2 : whole; /* never none: that would be a disk that takes nothing */
    int64_t position = offset;
    if (offset < 0) {
        struct stat status;
        position = fcntl(fd, F_GETFL) & O_APPEND && !fstat(fd, &status) ? status.st_size : lseek(fd, 0, SEEK_CUR);
    }
    ssize_t done = offset < 0 ? syscall(SYS_write, fd, data, length) : syscall(SYS_pwrite64, fd, data, length, offset);
    if (done >= 0) record(WRITE, path, NULL, fd, position, data, done);
    free(data);
    if (own == 2) half_done();
    return done;
}
ssize_t write(int fd, const void *data, size_t size) { struct iovec part = {(void *)data, size}; return written(fd, &part, 1, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { struct iovec part = {(void *)data, size}; return written(fd, &part, 1, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return pwrite(fd, data, size, at); }
ssize_t writev(int fd, const struct iovec *parts, int many) { return written(fd, parts, many, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int many, off_t at) { return written(fd, parts, many, at); }
ssize_t pwritev64(int fd, const struct iovec *parts, int many, off64_t at) { return written(fd, parts, many, at); }
ssize_t pwritev2(int fd, const struct iovec *parts, int many, off_t at, int f) { (void)f; return written(fd, parts, many, at); }
ssize_t pwritev64v2(int fd, const struct iovec *parts, int many, off64_t at, int f) { (void)f; return written(fd, parts, many, at); }

/* Copies within the kernel become reads and writes, which are recorded. */
static ssize_t copied(int from, off_t *in, int to, off_t *out, size_t size) {
    char data[1 << 16];
    if (size > sizeof data) size = sizeof data;
    ssize_t got = in ? pread(from, data, size, *in) : read(from, data, size);
    if (got <= 0) return got;
    struct iovec part = {data, got};
    ssize_t done = written(to, &part, 1, out ? *out : -1);
    if (done >= 0 && in) *in += done;
    if (done >= 0 && !in && done < got) lseek(from, done - got, SEEK_CUR);
    if (done >= 0 && out) *out += done;
    return done;
}
ssize_t sendfile(int out, int in, off_t *at, size_t size) { char path[PATH_MAX]; return inside(out, NULL, path) ? copied(in, at, out, NULL, size) : syscall(SYS_sendfile, out, in, at, size); }
ssize_t sendfile64(int out, int in, off64_t *at, size_t size) { return sendfile(out, in, at, size); }
ssize_t copy_file_range(int in, off64_t *a, int out, off64_t *b, size_t size, unsigned f) {
    char path[PATH_MAX];
    return inside(out, NULL, path) ? copied(in, a, out, b, size) : syscall(SYS_copy_file_range, in, a, out, b, size, f);
}

int ftruncate(int fd, off_t size) { REAL(ftruncate); NAMED(TRUNCATE, fd, NULL, int, real(fd, size), record(TRUNCATE, path, NULL, fd, size, NULL, 0)); }
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }
int fallocate(int fd, int mode, off_t at, off_t size) { REAL(fallocate); NAMED(WRITE, fd, NULL, int, real(fd, mode, at, size), (void)0); }
int fallocate64(int fd, int mode, off64_t at, off64_t size) { return fallocate(fd, mode, at, size); }
int fsync(int fd) { REAL(fsync); NAMED(SYNC, fd, NULL, int, real(fd), record(SYNC, path, NULL, fd, 0, NULL, 0)); }
int fdatasync(int fd) { REAL(fdatasync); NAMED(SYNC, fd, NULL, int, real(fd), record(SYNC, path, NULL, fd, 0, NULL, 0)); }
int chmod(const char *a, mode_t m) { REAL(chmod); NAMED(ATTRIBUTES, AT_FDCWD, a, int, real(a, m), (void)0); }
int fchmod(int fd, mode_t m) { REAL(fchmod); NAMED(ATTRIBUTES, fd, NULL, int, real(fd, m), (void)0); }

/* Looks, locks and sleep: only a gate has use of them. */
#define LOOKED(kind, dir, name, result, bad, call) do { \
    char path[PATH_MAX]; \
    if (gate_fd >= 0 && inside(dir, name, path) && fate(kind, path)) return bad; \
    return call; } while (0)

int stat(const char *a, struct stat *s) { REAL(stat); LOOKED(LOOK, AT_FDCWD, a, int, -1, real(a, s)); }
int stat64(const char *a, struct stat64 *s) { REAL(stat64); LOOKED(LOOK, AT_FDCWD, a, int, -1, real(a, s)); }
int lstat(const char *a, struct stat *s) { REAL(lstat); LOOKED(LOOK, AT_FDCWD, a, int, -1, real(a, s)); }
int lstat64(const char *a, struct stat64 *s) { REAL(lstat64); LOOKED(LOOK, AT_FDCWD, a, int, -1, real(a, s)); }
int fstatat(int d, const char *a, struct stat *s, int f) { REAL(fstatat); LOOKED(LOOK, d, a, int, -1, real(d, a, s, f)); }
int fstatat64(int d, const char *a, struct stat64 *s, int f) { REAL(fstatat64); LOOKED(LOOK, d, a, int, -1, real(d, a, s, f)); }
int statx(int d, const char *a, int f, unsigned m, struct statx *s) { REAL(statx); LOOKED(LOOK, d, a, int, -1, real(d, a, f, m, s)); }
int access(const char *a, int m) { REAL(access); LOOKED(LOOK, AT_FDCWD, a, int, -1, real(a, m)); }
int faccessat(int d, const char *a, int m, int f) { REAL(faccessat); LOOKED(LOOK, d, a, int, -1, real(d, a, m, f)); }
DIR *opendir(const char *a) { REAL(opendir); LOOKED(LOOK, AT_FDCWD, a, DIR *, NULL, real(a)); }
ssize_t pread(int fd, void *data, size_t size, off_t at) { LOOKED(READ, fd, NULL, ssize_t, -1, syscall(SYS_pread64, fd, data, size, at)); }
ssize_t pread64(int fd, void *data, size_t size, off64_t at) { return pread(fd, data, size, at); }
ssize_t preadv(int fd, const struct iovec *v, int n, off_t at) { REAL(preadv); LOOKED(READ, fd, NULL, ssize_t, -1, real(fd, v, n, at)); }
ssize_t preadv64(int fd, const struct iovec *v, int n, off64_t at) { return preadv(fd, v, n, at); }

int flock(int fd, int what) {
    REAL(flock);
    char path[PATH_MAX];
    if (gate_fd < 0 || !inside(fd, NULL, path)) return real(fd, what);
    if (fate(what & LOCK_UN ? UNLOCK : LOCK, path)) return -1;
    if (lockless) return 0;
    if (what & (LOCK_UN | LOCK_NB)) return real(fd, what);
    int done;
    while ((done = real(fd, what | LOCK_NB)) && errno == EWOULDBLOCK) gate(WAIT, path);
    return done;
}

static int controlled(int fd, int what, void *argument) {
    static int (*real)(int, int, ...);
    if (!real) real = (int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl64");
    char path[PATH_MAX];
    int is_lock = what == F_SETLK || what == F_SETLKW || what == F_OFD_SETLK || what == F_OFD_SETLKW;
    if (gate_fd >= 0 && is_lock && inside(fd, NULL, path)) {
        int is_wait = what == F_SETLKW || what == F_OFD_SETLKW, done;
        int kind = ((struct flock *)argument)->l_type == F_UNLCK ? UNLOCK : LOCK;
        if (fate(kind, path)) return -1;
        if (is_wait) what = what == F_SETLKW ? F_SETLK : F_OFD_SETLK;
        while ((done = real(fd, what, argument)) && is_wait && (errno == EAGAIN || errno == EACCES)) gate(WAIT, path);
        return done;
    }
    return real(fd, what, argument);
}
#define ARGUMENT va_list more; va_start(more, what); void *argument = va_arg(more, void *); va_end(more);
int fcntl(int fd, int what, ...) { ARGUMENT return controlled(fd, what, argument); }
int fcntl64(int fd, int what, ...) { ARGUMENT return controlled(fd, what, argument); }

static int sleeps(void) { if (gate_fd >= 0) gate(WAIT, "sleep"); return gate_fd >= 0; }
int usleep(useconds_t time) { REAL(usleep); return sleeps() ? 0 : real(time); }
int nanosleep(const struct timespec *time, struct timespec *rest) { REAL(nanosleep); return sleeps() ? 0 : real(time, rest); }
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *rest) {
    REAL(clock_nanosleep);
    return sleeps() ? 0 : real(clock, flags, time, rest);
}
