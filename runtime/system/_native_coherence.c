/* Stale translations; the rules are in coherence.py. */
#include "_native_machines.h"

typedef struct {
    struct machine machine;
    uint8_t *host;                      /* where RAM is in this process */
    uint64_t size;
    uint8_t *coded;                     /* for each page, whether something was translated from it since it was written */
    uint8_t *written;                   /* for each page, whether an entry by which it may be written may have lost its mark */
    void (*reset_dirty)(void *cpu, uint64_t host, uint64_t length);
    void (*invalidate)(void *uc, uint64_t start, uint64_t end);
} Coherence;

static struct machine *coherent;        /* the machines that are kept so */

static struct {                         /* the emulator's own functions */
    void (*protect)(void *uc, uint64_t address);
    void (*written)(void *uc, void *pages, uint64_t start, int length, uint64_t from);
    void (*mark)(void *cpu, uint64_t address, uint64_t length);
} plain[ARCHITECTURES];

static inline void protect(int arch, void *uc, uint64_t address)
{
    Coherence *of = machine_of(coherent, uc);

    plain[arch].protect(uc, address);
    address &= ~(PAGE - 1);
    if (!of || address >= of->size)
        return;
    of->coded[address / PAGE] = 1;
    if (of->written[address / PAGE]) {
        of->written[address / PAGE] = 0;
        of->reset_dirty(of->machine.cpu, (uint64_t)(uintptr_t)of->host + address, PAGE);
    }
}

static inline void written(int arch, void *uc, void *pages, uint64_t start, int length, uint64_t from)
{
    Coherence *of = machine_of(coherent, uc);

    plain[arch].written(uc, pages, start, length, from); /* does not come back when the block that writes is itself written to */
    if (!of || start >= of->size)
        return;
    of->written[start / PAGE] = 1;
    if (of->coded[start / PAGE]) {
        start &= ~(PAGE - 1);
        of->coded[start / PAGE] = 0;
        of->invalidate(uc, start, start + PAGE);
    }
}

/* Entries have their marks since the page was protected. */
static inline void mark(int arch, void *cpu, uint64_t address, uint64_t length)
{
    if (!machine_with(coherent, cpu))
        plain[arch].mark(cpu, address, length);
}

#define FUNCTIONS(name, arch) \
    static void protect_##name(void *uc, uint64_t address) { protect(arch, uc, address); } \
    static void written_##name(void *uc, void *pages, uint64_t start, int length, uint64_t from) \
    { \
        written(arch, uc, pages, start, length, from); \
    } \
    static void mark_##name(void *cpu, uint64_t address, uint64_t length) { mark(arch, cpu, address, length); }

FUNCTIONS(arm64, ARM64)
FUNCTIONS(x86_64, X86_64)

static const struct {
    void *protect, *written, *mark;
} ours[ARCHITECTURES] = {
    [ARM64] = {(void *)protect_arm64, (void *)written_arm64, (void *)mark_arm64},
    [X86_64] = {(void *)protect_x86_64, (void *)written_x86_64, (void *)mark_x86_64},
};

static PyObject *Coherence_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"arch", "uc", "cpu", "host", "size", "reset_dirty", "invalidate", "protect", "written", "mark", "protect_slot",
                            "written_slot", "mark_slot", NULL};
    unsigned long long uc, cpu, host, size, reset_dirty, invalidate, own_protect, own_written, own_mark, protect_slot, written_slot, mark_slot;
    int arch;
    Coherence *of;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "pKKKKKKKKKKKK", names, &arch, &uc, &cpu, &host, &size, &reset_dirty, &invalidate,
                                     &own_protect, &own_written, &own_mark, &protect_slot, &written_slot, &mark_slot))
        return NULL;
    of = new_object(type);
    if (!of)
        return NULL;
    of->coded = PyMem_Calloc(size / PAGE, 1);
    of->written = PyMem_Calloc(size / PAGE, 1);
    if (!of->coded || !of->written) {
        Py_DECREF(of);
        return PyErr_NoMemory();
    }
    of->machine.uc = POINTER(uc);
    of->machine.cpu = POINTER(cpu);
    of->host = POINTER(host);
    of->size = size;
    of->reset_dirty = POINTER(reset_dirty);
    of->invalidate = POINTER(invalidate);
    plain[arch].protect = POINTER(own_protect);
    plain[arch].written = POINTER(own_written);
    plain[arch].mark = POINTER(own_mark);
    enlist(&coherent, of);
    put(protect_slot, ours[arch].protect);
    put(written_slot, ours[arch].written);
    put(mark_slot, ours[arch].mark);
    return (PyObject *)of;
}

static void Coherence_dealloc(PyObject *self)
{
    strike(&coherent, self);
    PyMem_Free(((Coherence *)self)->coded);
    PyMem_Free(((Coherence *)self)->written);
    free_object(self);
}

static PyType_Slot Coherence_slots[] = {
    {Py_tp_doc, "Keeps one machine's translations in step with its RAM, as long as it lives; see coherence.py."},
    {Py_tp_new, Coherence_new},
    {Py_tp_dealloc, Coherence_dealloc},
    {0, NULL},
};

PyType_Spec Coherence_spec = {
    "pyprobe.runtime.system._native.Coherence", sizeof(Coherence), 0, Py_TPFLAGS_DEFAULT, Coherence_slots,
};
