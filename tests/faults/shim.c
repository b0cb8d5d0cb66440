/* Preloaded into a program, counts the calls by which it changes files, and spoils one of them.
 *
 * Calls below the watched folders count, in this process and its children: the control block is a
 * file that all of them map (R2P_FAULTS names it; tests/faults/shim.py has the same structure). The
 * call with the number `at` is where the fault happens or begins; -1 only traces.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { TRACE, KILL_BEFORE, KILL_AFTER, FULL, READ_ONLY, FORBIDDEN, BROKEN, CLOCK_BACK, SIGNAL };
enum { READ, OPEN, WRITE, SYNC, RENAME, UNLINK, MKDIR };
static const char *const NAMES[] = {"read", "open", "write", "fsync", "rename", "unlink", "mkdir"};

#define STEPS 4096
#define LINE 240

struct control {
    int armed, action, at, signal;
    int reads; /* files that are opened for reading count too, wherever they are */
    int count;
    int group; /* of the program; a child may have one of its own */
    char watched[2][256];
    char steps[STEPS][LINE];
};

static struct control *control;

__attribute__((constructor)) static void map_control(void) {
    const char *file = getenv("R2P_FAULTS");
    int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED) control = found;
}

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static int is_watched(const char *path) {
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(control->watched[i]);
        if (length && !strncmp(path, control->watched[i], length)) return 1;
    }
    return 0;
}

static void path_of_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, 4095);
    path[length < 0 ? 0 : length] = 0;
}

static void path_at(int folder, const char *name, char *path) {
    if (name[0] == '/') {
        snprintf(path, 4096, "%s", name);
        return;
    }
    char base[4096] = "";
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) base[0] = 0;
    } else {
        path_of_fd(folder, base);
    }
    snprintf(path, 4096, "%.2000s/%.2000s", base, name);
}

/* Answers of `step`: go on, go on and die, write half and fail, fail with errno set. */
enum { GO, THEN_DIE, HALF, FAIL };

static void die(void) {
    if (control->group) kill(-control->group, SIGKILL);
    kill(0, SIGKILL);
    for (;;) pause();
}

static int step(int kind, const char *path) {
    if (!control || !control->armed) return GO;
    if (kind == READ ? !control->reads : !is_watched(path)) return GO;
    int number = __sync_fetch_and_add(&control->count, 1);
    if (number < STEPS) snprintf(control->steps[number], LINE, "%s %.220s", NAMES[kind], path);
    int at = control->at;
    if (at < 0 || number < at) return GO;
    switch (control->action) {
        case KILL_BEFORE:
            if (number == at) die();
            return GO;
        case KILL_AFTER:
            return number == at ? THEN_DIE : GO;
        case SIGNAL:
            if (number == at) kill(control->group, control->signal); /* not a child of it */
            return GO;
        case BROKEN:
            errno = EIO;
            return number == at && kind != READ ? FAIL : GO;
        case FULL:
            if (kind == WRITE && number == at) return HALF;
            if (kind != OPEN && kind != WRITE && kind != SYNC && kind != MKDIR) return GO;
            errno = ENOSPC;
            return FAIL;
        case READ_ONLY:
            errno = EROFS;
            return kind == READ ? GO : FAIL;
        case FORBIDDEN: /* in the folder nothing can be made or removed; open files go on */
            errno = EACCES;
            return kind == OPEN || kind == RENAME || kind == UNLINK || kind == MKDIR ? FAIL : GO;
        default:
            return GO;
    }
}

static int step_fd(int kind, int fd) {
    if (!control || !control->armed) return GO;
    char path[4096];
    int former = errno;
    path_of_fd(fd, path);
    errno = former;
    return step(kind, path);
}

static int step_at(int kind, int folder, const char *name) {
    if (!control || !control->armed) return GO;
    char path[4096];
    path_at(folder, name, path);
    return step(kind, path);
}

#define GUARDED(verdict, failed, type, call)  \
    {                                         \
        int verdict_ = (verdict);             \
        if (verdict_ == FAIL) return failed;  \
        type result_ = (call);                \
        if (verdict_ == THEN_DIE) die();      \
        return result_;                       \
    }

static int opens(int flags) { return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) ? OPEN : READ; }

#define OPENS(name)                                                                     \
    int name(const char *path, int flags, ...) {                                        \
        va_list list;                                                                   \
        va_start(list, flags);                                                          \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;         \
        va_end(list);                                                                   \
        GUARDED(step_at(opens(flags), AT_FDCWD, path), -1, int,                         \
                ((int (*)(const char *, int, ...))real(#name))(path, flags, mode))      \
    }
#define OPENS_AT(name)                                                                  \
    int name(int folder, const char *path, int flags, ...) {                            \
        va_list list;                                                                   \
        va_start(list, flags);                                                          \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;         \
        va_end(list);                                                                   \
        GUARDED(step_at(opens(flags), folder, path), -1, int,                           \
                ((int (*)(int, const char *, int, ...))real(#name))(folder, path, flags, mode)) \
    }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

#define FOPENS(name)                                                                    \
    FILE *name(const char *path, const char *mode) {                                    \
        GUARDED(step_at(strpbrk(mode, "wa+") ? OPEN : READ, AT_FDCWD, path), NULL,      \
                FILE *, REAL(name)(path, mode))                                         \
    }
FOPENS(fopen)
FOPENS(fopen64)

/* What stdio writes by itself is not seen; its own calls are. */
size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    int verdict = step_fd(WRITE, fileno(file));
    if (verdict == HALF) {
        REAL(fwrite)(data, size, count / 2, file);
        errno = ENOSPC;
    }
    if (verdict == HALF || verdict == FAIL) return 0;
    size_t done = REAL(fwrite)(data, size, count, file);
    if (verdict == THEN_DIE) die();
    return done;
}

#define STDIO(name)                                                                     \
    int name(FILE *file) {                                                              \
        int verdict = file ? step_fd(WRITE, fileno(file)) : GO;                         \
        int done = REAL(name)(file);                                                    \
        if (verdict == THEN_DIE) die();                                                 \
        if (verdict == HALF || verdict == FAIL) return errno = ENOSPC, EOF;             \
        return done;                                                                    \
    }
STDIO(fflush)
STDIO(fclose)

/* A write that is cut short gives the half, as the system's does; the next one fails. */
#define WRITES(name, parameters, arguments, half)                                       \
    ssize_t name parameters {                                                           \
        int verdict = step_fd(WRITE, fd);                                               \
        if (verdict == HALF) {                                                          \
            if (count > 1) return half;                                                 \
            errno = ENOSPC;                                                             \
            return -1;                                                                  \
        }                                                                               \
        GUARDED(verdict, -1, ssize_t, REAL(name) arguments)                             \
    }
WRITES(write, (int fd, const void *data, size_t count), (fd, data, count),
       REAL(write)(fd, data, count / 2))
WRITES(pwrite, (int fd, const void *data, size_t count, off_t at), (fd, data, count, at),
       REAL(pwrite)(fd, data, count / 2, at))
WRITES(pwrite64, (int fd, const void *data, size_t count, off64_t at), (fd, data, count, at),
       REAL(pwrite64)(fd, data, count / 2, at))
WRITES(writev, (int fd, const struct iovec *data, int count), (fd, data, count),
       REAL(writev)(fd, data, count / 2))
WRITES(sendfile, (int fd, int from, off_t *at, size_t count), (fd, from, at, count),
       REAL(sendfile)(fd, from, at, count / 2))
WRITES(sendfile64, (int fd, int from, off64_t *at, size_t count), (fd, from, at, count),
       REAL(sendfile64)(fd, from, at, count / 2))

#define CHANGES(kind, name, parameters, arguments, verdict)                             \
    int name parameters { GUARDED(verdict, -1, int, REAL(name) arguments) }
CHANGES(SYNC, fsync, (int fd), (fd), step_fd(SYNC, fd))
CHANGES(SYNC, fdatasync, (int fd), (fd), step_fd(SYNC, fd))
CHANGES(WRITE, ftruncate, (int fd, off_t size), (fd, size), step_fd(WRITE, fd))
CHANGES(WRITE, ftruncate64, (int fd, off64_t size), (fd, size), step_fd(WRITE, fd))
CHANGES(UNLINK, unlink, (const char *path), (path), step_at(UNLINK, AT_FDCWD, path))
CHANGES(UNLINK, rmdir, (const char *path), (path), step_at(UNLINK, AT_FDCWD, path))
CHANGES(UNLINK, remove, (const char *path), (path), step_at(UNLINK, AT_FDCWD, path))
CHANGES(UNLINK, unlinkat, (int folder, const char *path, int flags), (folder, path, flags),
        step_at(UNLINK, folder, path))
CHANGES(MKDIR, mkdir, (const char *path, mode_t mode), (path, mode), step_at(MKDIR, AT_FDCWD, path))
CHANGES(MKDIR, mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode),
        step_at(MKDIR, folder, path))
CHANGES(RENAME, rename, (const char *from, const char *to), (from, to),
        step_at(RENAME, AT_FDCWD, to))
CHANGES(RENAME, renameat, (int one, const char *from, int other, const char *to),
        (one, from, other, to), step_at(RENAME, other, to))
CHANGES(RENAME, renameat2,
        (int one, const char *from, int other, const char *to, unsigned flags),
        (one, from, other, to, flags), step_at(RENAME, other, to))
CHANGES(RENAME, link, (const char *from, const char *to), (from, to), step_at(RENAME, AT_FDCWD, to))

int clock_gettime(clockid_t clock, struct timespec *found) {
    int done = REAL(clock_gettime)(clock, found);
    if (!done && clock == CLOCK_REALTIME && control && control->armed &&
        control->action == CLOCK_BACK && control->at >= 0 && control->count > control->at)
        found->tv_sec -= 10 * 365 * 86400L;
    return done;
}
