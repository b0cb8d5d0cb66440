/* A stand-in for CUDA's runtime library without a GPU, for the tests.

   Device pointers are host addresses. Copies and launches wait in their stream until somebody
   synchronizes it, and memory that nobody wrote holds 0xA5, so that a missing copy, a copy to the
   wrong place and a missing synchronization all show in the result. What it is to be like comes
   from FAKE_CUDA_* variables, which are read at every call. */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNTIME_VERSION = 12060, ALIGNMENT = 256, POISON = 0xA5 };

/* cudaError */
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INSUFFICIENT_DRIVER = 35,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_HANDLE = 400,
    ILLEGAL_ADDRESS = 700,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
};

/* What an object is. Memory is what may reach it; mapped host memory is both. */
enum { DEVICE = 1, PINNED = 2, MEMORY = DEVICE | PINNED, STREAM = 4, GRAPH = 8, GRAPH_EXEC = 16 };

enum capture { NOT_CAPTURING, CAPTURING, CAPTURE_BROKEN };

/* A launch, or, where `work` is NULL, a copy, or, where `from` is NULL too, a fill. */
struct operation {
    struct operation *next;
    void (*work)(void *);
    void *data;
    void *to;
    const void *from;
    size_t size;
    int to_kind, from_kind, value;
};

struct queue {
    struct operation *first, *last;
};

struct object {
    struct object *next;
    int kind;
    void *handle; /* the memory, or else the object itself */
    size_t size;
    struct queue operations; /* what waits in a stream, or what a graph consists of */
    struct queue captured;
    enum capture capture;
    bool busy; /* somebody is running its operations */
    int error; /* what they came to, for good */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards the three below */
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;    /* a stream is busy no more */
static struct object *objects;
static size_t used;
static long allocated;

static _Thread_local int last_error, current_device;
static _Thread_local void *current_context;
static char primary[8]; /* the addresses of these stand for the devices' primary contexts... */
static bool active[8];  /* ...which cudaSetDevice makes, since CUDA 12 */

static void lock(void) {
    pthread_mutex_lock(&mutex);
}

static void unlock(void) {
    pthread_mutex_unlock(&mutex);
}

static int result(int code) {
    if (code)
        last_error = code;
    return code;
}

static int unlock_with(int code) {
    unlock();
    return result(code);
}

static long long setting(const char *name, long long otherwise) {
    const char *text = getenv(name);
    return text ? atoll(text) : otherwise;
}

/* What every call that needs a GPU meets; no driver is one of version 0. */
static int trouble(void) {
    if (setting("FAKE_CUDA_DRIVER", RUNTIME_VERSION) / 1000 < RUNTIME_VERSION / 1000)
        return INSUFFICIENT_DRIVER;
    return setting("FAKE_CUDA_DEVICES", 1) > 0 ? SUCCESS : NO_DEVICE;
}

/* ---- Queues and objects: the caller holds the lock ---- */

static void append(struct queue *queue, struct operation operation) {
    struct operation *copy = malloc(sizeof *copy);
    if (!copy)
        abort();
    *copy = operation;
    copy->next = NULL;
    *(queue->first ? &queue->last->next : &queue->first) = copy;
    queue->last = copy;
}

static void append_all(struct queue *queue, const struct queue *more) {
    for (const struct operation *each = more->first; each; each = each->next)
        append(queue, *each);
}

static struct operation *pop(struct queue *queue) {
    struct operation *first = queue->first;
    queue->first = first->next;
    return first;
}

static void clear(struct queue *queue) {
    while (queue->first)
        free(pop(queue));
}

static struct object *find(const void *handle, int kinds) {
    struct object *object = objects;
    while (object && !(object->handle == handle && object->kind & kinds))
        object = object->next;
    return object;
}

static struct object *add(int kind) {
    struct object *object = calloc(1, sizeof *object);
    if (!object)
        abort();
    *object = (struct object){.next = objects, .kind = kind, .handle = object};
    return objects = object;
}

static void delete(struct object *object) {
    struct object **link = &objects;
    while (*link != object)
        link = &(*link)->next;
    *link = object->next;
    clear(&object->operations);
    clear(&object->captured);
    free(object);
}

static bool lies_in(const void *address, size_t size, int kind) {
    for (const struct object *object = objects; object; object = object->next) {
        uintptr_t start = (uintptr_t)address, base = (uintptr_t)object->handle;
        if (object->kind & kind && start >= base && start - base <= object->size &&
            size <= object->size - (start - base))
            return true;
    }
    return false;
}

static bool permitted(const struct operation *copy) {
    bool good = lies_in(copy->to, copy->size, copy->to_kind) &&
                (!copy->from || lies_in(copy->from, copy->size, copy->from_kind));
    if (!good)
        fprintf(stderr, "fake cudart: %zu bytes from %p to %p lie in memory of another kind\n",
                copy->size, copy->from, copy->to);
    return good;
}

static int enqueue(void *handle, struct operation operation) {
    struct object *stream = find(handle, STREAM);
    if (!stream)
        return INVALID_HANDLE;
    if (!operation.work && !permitted(&operation))
        return INVALID_VALUE;
    if (stream->capture == CAPTURE_BROKEN)
        return CAPTURE_INVALIDATED;
    append(stream->capture ? &stream->captured : &stream->operations, operation);
    return SUCCESS;
}

/* Runs what waits in a stream. The lock is open while a launch does its work, which may call
   anything here but what waits for this stream. */
static int drain(void *handle) {
    struct object *stream;
    while ((stream = find(handle, STREAM)) && stream->busy)
        pthread_cond_wait(&idle, &mutex);
    if (!stream)
        return INVALID_HANDLE;
    stream->busy = true;
    while (stream->operations.first) {
        struct operation *operation = pop(&stream->operations);
        if (operation->work) {
            unlock();
            operation->work(operation->data);
            lock();
        } else if (permitted(operation)) {
            if (operation->from)
                memmove(operation->to, operation->from, operation->size);
            else
                memset(operation->to, operation->value, operation->size);
        } else {
            stream->error = ILLEGAL_ADDRESS;
        }
        free(operation);
    }
    stream->busy = false;
    pthread_cond_broadcast(&idle);
    return stream->error;
}

static void drain_all(void) {
    struct object *object = objects;
    while (object) {
        bool waits = object->kind == STREAM && (object->operations.first || object->busy);
        if (waits)
            drain(object->handle);
        object = waits ? objects : object->next; /* some may have gone meanwhile */
    }
}

/* ---- What the tests ask for ---- */

/* Does `work` in stream order; a capturing stream captures it. */
void fake_launch(void *stream, void (*work)(void *), void *data) {
    lock();
    if (unlock_with(enqueue(stream, (struct operation){.work = work, .data = data})))
        fprintf(stderr, "fake cudart: a launch on stream %p failed\n", stream);
}

static int is_memory(const void *address, size_t size, int kind) {
    lock();
    bool is = lies_in(address, size, kind);
    unlock();
    return is;
}

int fake_is_device(const void *address, size_t size) {
    return is_memory(address, size, DEVICE);
}

int fake_is_pinned(const void *address, size_t size) {
    return is_memory(address, size, PINNED);
}

/* How many allocations, streams, graphs and executable graphs there are. */
long fake_live(void) {
    long count = 0;
    lock();
    for (const struct object *object = objects; object; object = object->next)
        count++;
    unlock();
    return count;
}

/* How many allocations there ever were. */
long fake_allocated(void) {
    lock();
    long count = allocated;
    unlock();
    return count;
}

/* How many devices have a primary context. */
int fake_contexts(void) {
    int count = 0;
    for (int device = 0; device < (int)sizeof primary; device++)
        count += active[device];
    return count;
}

/* Makes it a process that has not used a GPU yet. */
void fake_forget_contexts(void) {
    memset(active, 0, sizeof active);
    current_device = 0;
    current_context = NULL;
}

/* ---- Errors, versions and devices ---- */

int cudaGetLastError(void) {
    int code = last_error;
    last_error = SUCCESS;
    return code;
}

const char *cudaGetErrorString(int code) {
    switch (code) {
    case SUCCESS: return "no error";
    case INVALID_VALUE: return "invalid argument";
    case OUT_OF_MEMORY: return "out of memory";
    case INSUFFICIENT_DRIVER: return "driver version is insufficient for runtime version";
    case NO_DEVICE: return "no device is detected";
    case INVALID_DEVICE: return "invalid device ordinal";
    case INVALID_HANDLE: return "invalid resource handle";
    case ILLEGAL_ADDRESS: return "an illegal memory access was encountered";
    case CAPTURE_UNSUPPORTED: return "operation not permitted when stream is capturing";
    case CAPTURE_INVALIDATED: return "operation failed due to a previous error during capture";
    default: return "unrecognized error code";
    }
}

int cudaRuntimeGetVersion(int *version) {
    *version = RUNTIME_VERSION;
    return SUCCESS;
}

int cudaDriverGetVersion(int *version) {
    *version = (int)setting("FAKE_CUDA_DRIVER", RUNTIME_VERSION);
    return SUCCESS;
}

int cudaGetDeviceCount(int *count) {
    *count = (int)setting("FAKE_CUDA_DEVICES", 1);
    return result(trouble());
}

int cudaGetDevice(int *device) {
    *device = current_device;
    return result(trouble());
}

static int check_device(int device) {
    bool there = device >= 0 && device < setting("FAKE_CUDA_DEVICES", 1);
    int code = trouble();
    return code || there ? code : INVALID_DEVICE;
}

int cudaSetDevice(int device) {
    int code = check_device(device);
    if (!code) {
        current_device = device;
        current_context = &primary[device];
        active[device] = true;
    }
    return result(code);
}

/* The driver's, which libcuda.so.1 has. */
int cuCtxGetCurrent(void **context) {
    *context = current_context;
    return SUCCESS;
}

int cuCtxSetCurrent(void *context) {
    for (int device = 0; device < (int)sizeof primary; device++)
        if (context == &primary[device])
            current_device = device;
    current_context = context;
    return SUCCESS;
}

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *is_active) {
    *flags = 0;
    *is_active = active[device];
    return SUCCESS;
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    const char *capability = getenv("FAKE_CUDA_CAPABILITY");
    int major = 8, minor = 7, code = check_device(device);
    if (capability)
        sscanf(capability, "%d.%d", &major, &minor);
    switch (attribute) {
    case 16: *value = (int)setting("FAKE_CUDA_MULTIPROCESSORS", 16); break;
    case 18: *value = (int)setting("FAKE_CUDA_INTEGRATED", 0); break;
    case 75: *value = major; break;
    case 76: *value = minor; break;
    default: code = INVALID_VALUE;
    }
    return result(code);
}

/* ---- Memory ---- */

static void measure(size_t *left, size_t *total) {
    *total = (size_t)setting("FAKE_CUDA_MEMORY", 8LL << 30);
    *left = *total > used ? *total - used : 0;
}

int cudaMemGetInfo(size_t *left, size_t *total) {
    lock();
    measure(left, total);
    return unlock_with(trouble());
}

static int allocate(void **address, size_t size, int kind) {
    size_t left, total;
    lock();
    measure(&left, &total);
    int code = trouble();
    if (!code && (size > left || posix_memalign(address, ALIGNMENT, size ? size : 1)))
        code = OUT_OF_MEMORY;
    if (!code) {
        memset(*address, POISON, size);
        struct object *object = add(kind);
        object->handle = *address;
        object->size = size;
        used += size;
        allocated++;
    }
    return unlock_with(code);
}

static int deallocate(void *address, bool pinned) {
    lock();
    drain_all(); /* the real one waits for the GPU, too */
    struct object *object = find(address, MEMORY);
    if (!object || pinned != (bool)(object->kind & PINNED))
        return unlock_with(address ? INVALID_VALUE : SUCCESS);
    used -= object->size;
    memset(address, POISON, object->size);
    delete(object);
    free(address);
    return unlock_with(SUCCESS);
}

int cudaMalloc(void **address, size_t size) {
    return allocate(address, size, DEVICE);
}

int cudaFree(void *address) {
    return deallocate(address, false);
}

int cudaHostAlloc(void **address, size_t size, unsigned flags) {
    return allocate(address, size, flags & 2 ? DEVICE | PINNED : PINNED);
}

int cudaFreeHost(void *address) {
    return deallocate(address, true);
}

int cudaHostGetDevicePointer(void **device, void *host, unsigned flags) {
    (void)flags;
    *device = host;
    return result(fake_is_pinned(host, 1) && fake_is_device(host, 1) ? SUCCESS : INVALID_VALUE);
}

int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    struct operation copy = {.to = to, .from = from, .size = size};
    copy.to_kind = kind == 1 ? DEVICE : PINNED;
    copy.from_kind = kind == 1 ? PINNED : DEVICE;
    lock();
    bool known = from && (kind == 1 || kind == 2);
    return unlock_with(known ? enqueue(stream, copy) : INVALID_VALUE);
}

int cudaMemsetAsync(void *to, int value, size_t size, void *stream) {
    struct operation fill = {.to = to, .size = size, .to_kind = DEVICE, .value = value};
    lock();
    return unlock_with(enqueue(stream, fill));
}

/* ---- Streams ---- */

int cudaStreamCreateWithFlags(void **stream, unsigned flags) {
    (void)flags;
    int code = trouble();
    lock();
    if (!code)
        *stream = add(STREAM);
    return unlock_with(code);
}

int cudaStreamSynchronize(void *handle) {
    lock();
    struct object *stream = find(handle, STREAM);
    if (!stream || !stream->capture)
        return unlock_with(drain(handle));
    stream->capture = CAPTURE_BROKEN;
    return unlock_with(CAPTURE_UNSUPPORTED);
}

int cudaStreamDestroy(void *handle) {
    lock();
    int code = drain(handle);
    struct object *stream = find(handle, STREAM);
    if (stream)
        delete(stream);
    return unlock_with(code);
}

int cudaStreamBeginCapture(void *handle, int mode) {
    (void)mode;
    lock();
    struct object *stream = find(handle, STREAM);
    if (stream)
        stream->capture = getenv("FAKE_CUDA_NO_CAPTURE") ? CAPTURE_BROKEN : CAPTURING;
    return unlock_with(stream ? SUCCESS : INVALID_HANDLE);
}

int cudaStreamEndCapture(void *handle, void **graph) {
    *graph = NULL;
    lock();
    struct object *stream = find(handle, STREAM);
    if (!stream || !stream->capture)
        return unlock_with(INVALID_HANDLE);
    bool broken = stream->capture == CAPTURE_BROKEN;
    if (broken) {
        clear(&stream->captured);
    } else {
        struct object *object = add(GRAPH);
        object->operations = stream->captured;
        *graph = object;
    }
    stream->captured = (struct queue){0};
    stream->capture = NOT_CAPTURING;
    return unlock_with(broken ? CAPTURE_INVALIDATED : SUCCESS);
}

/* ---- Graphs ---- */

int cudaGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags) {
    (void)flags;
    lock();
    struct object *source = find(graph, GRAPH);
    if (!source)
        return unlock_with(INVALID_VALUE);
    struct object *object = add(GRAPH_EXEC);
    append_all(&object->operations, &source->operations);
    *exec = object;
    return unlock_with(SUCCESS);
}

int cudaGraphLaunch(void *exec, void *handle) {
    lock();
    struct object *source = find(exec, GRAPH_EXEC), *stream = find(handle, STREAM);
    if (!source || !stream)
        return unlock_with(INVALID_HANDLE);
    append_all(&stream->operations, &source->operations);
    return unlock_with(SUCCESS);
}

static int delete_graph(void *handle, int kind) {
    lock();
    struct object *object = find(handle, kind);
    if (object)
        delete(object);
    return unlock_with(object ? SUCCESS : INVALID_VALUE);
}

int cudaGraphDestroy(void *graph) {
    return delete_graph(graph, GRAPH);
}

int cudaGraphExecDestroy(void *exec) {
    return delete_graph(exec, GRAPH_EXEC);
}
