/*
 * Stale translations; the rules are in coherence.py. The emulator's two functions are called through slots of its procedure linkage table, in
 * which these stand instead; they are told the emulator, by which the machine is found.
 */
#include "_native.h"

typedef struct coherence {
    PyObject_HEAD
    struct coherence *next;
    void *uc, *cpu;
    uint8_t *host;                      /* where RAM is in this process */
    uint64_t size;
    uint8_t *coded;                     /* for each page, whether something was translated from it since it was written */
    void (*reset_dirty)(void *cpu, uint64_t host, uint64_t length);
    void (*invalidate)(void *uc, uint64_t start, uint64_t end);
} Coherence;

static Coherence *coherent;                                                        /* the machines that are kept so */
static void (*plain_protect)(void *uc, uint64_t address);                          /* the emulator's own, for all others */
static void (*plain_written)(void *uc, void *pages, uint64_t start, int length, uint64_t from);

static Coherence *machine_of(void *uc)
{
    Coherence *machine = coherent;

    while (machine && machine->uc != uc)
        machine = machine->next;
    return machine;
}

static void on_protect(void *uc, uint64_t address)
{
    Coherence *machine = machine_of(uc);

    plain_protect(uc, address);
    address &= ~(PAGE - 1);
    if (machine && address < machine->size) {
        machine->coded[address / PAGE] = 1;
        machine->reset_dirty(machine->cpu, (uint64_t)(uintptr_t)machine->host + address, PAGE);
    }
}

static void on_written(void *uc, void *pages, uint64_t start, int length, uint64_t from)
{
    Coherence *machine = machine_of(uc);

    plain_written(uc, pages, start, length, from); /* does not come back when the block that writes is itself written to */
    if (machine && start < machine->size && machine->coded[start / PAGE]) {
        start &= ~(PAGE - 1);
        machine->coded[start / PAGE] = 0;
        machine->invalidate(uc, start, start + PAGE);
    }
}

static PyObject *Coherence_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"uc", "cpu", "host", "size", "reset_dirty", "invalidate", "protect", "written", "protect_slot", "written_slot", NULL};
    unsigned long long uc, cpu, host, size, reset_dirty, invalidate, protect, written, protect_slot, written_slot;
    Coherence *machine;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KKKKKKKKKK", names, &uc, &cpu, &host, &size, &reset_dirty, &invalidate, &protect,
                                     &written, &protect_slot, &written_slot))
        return NULL;
    machine = new_object(type);
    if (!machine)
        return NULL;
    machine->coded = PyMem_Calloc(size / PAGE, 1);
    if (!machine->coded) {
        Py_DECREF(machine);
        return PyErr_NoMemory();
    }
    machine->uc = POINTER(uc);
    machine->cpu = POINTER(cpu);
    machine->host = POINTER(host);
    machine->size = size;
    machine->reset_dirty = POINTER(reset_dirty);
    machine->invalidate = POINTER(invalidate);
    plain_protect = POINTER(protect);
    plain_written = POINTER(written);
    machine->next = coherent;
    coherent = machine;
    *(void **)(uintptr_t)protect_slot = (void *)on_protect;
    *(void **)(uintptr_t)written_slot = (void *)on_written;
    return (PyObject *)machine;
}

static void Coherence_dealloc(PyObject *self)
{
    Coherence **at = &coherent;

    while (*at && *at != (Coherence *)self)
        at = &(*at)->next;
    if (*at)
        *at = (*at)->next;
    PyMem_Free(((Coherence *)self)->coded);
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
