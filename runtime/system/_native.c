/*
 * What a booted kernel does so often that Python would be felt: taking exceptions, reading the counter, cleaning caches.
 * Every rule here stands in twin.py too; one set of tests runs both. See ../machine/_native.c for how this is built.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define NOWHERE UINT64_MAX
#define PAGE UINT64_C(4096)

struct words { /* ClockWords of ../machine/clock.py */
    uint64_t now, deadline;
};

struct cp_register { /* ARMCPRegInfo of the emulator: what is needed of it */
    uint8_t unused[32];
    void *opaque;
};

/*
 * Breakpoints in the kernel's code, once there is one: they are the business of the callbacks in ../machine/_native.c, and an exception of
 * an instruction that runs in a slot becomes one of the place it stands for before the kernel is told.
 */
struct breakpoints {
    bool (*claim)(void *uc, uint32_t number, void *user); /* NULL: there are none */
    void *user;
    uint64_t *pc;
    uint64_t start, size;               /* of the slots */
    PyObject *left;                     /* told the exception; true: it is dealt with */
};

static bool dealt_with(struct breakpoints *breakpoints, void *uc, uint32_t number)
{
    PyObject *result;
    bool done;

    if (!breakpoints->claim)
        return false;
    if (breakpoints->claim(uc, number, breakpoints->user))
        return true;
    if (*breakpoints->pc - breakpoints->start >= breakpoints->size)
        return false;
    result = PyObject_CallFunction(breakpoints->left, "I", number);
    done = result == Py_True;
    if (!result)
        PyErr_WriteUnraisable(breakpoints->left);
    Py_XDECREF(result);
    return done;
}

static PyObject *set_breakpoints(struct breakpoints *breakpoints, PyObject *args)
{
    unsigned long long claim, user, pc, start, size;
    PyObject *left, *old = breakpoints->left;

    if (!PyArg_ParseTuple(args, "KKKKKO", &claim, &user, &pc, &start, &size, &left))
        return NULL;
    breakpoints->claim = (bool (*)(void *, uint32_t, void *))(uintptr_t)claim;
    breakpoints->user = (void *)(uintptr_t)user;
    breakpoints->pc = (uint64_t *)(uintptr_t)pc;
    breakpoints->start = start;
    breakpoints->size = size;
    breakpoints->left = Py_NewRef(left);
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

#define BREAKPOINTS_DOC "breakpoints(claim, user, pc, start, size, left): breakpoints there are from now on; see twin.py."

typedef struct {
    PyObject_HEAD
    uint64_t handed;                    /* bit n: exception n is for Python */
    uint32_t *syndrome;                 /* of the exception that is being taken */
    uint32_t trap;                      /* the immediate of an SVC that is for Python */
    void (*deliver)(void *cpu);
    void *cpu;
    PyObject *special;
    struct words *words;
    unsigned shift;                     /* nanoseconds to ticks of the counter */
    void *uc;
    int (*translate)(void *uc, uint64_t address, int access, uint64_t *physical);
    void (*invalidate)(void *uc, uint64_t start, uint64_t end);
    uint64_t ram, ram_size;
    uint64_t cleaned;                   /* the page that was invalidated last, since the last exception */
    struct breakpoints breakpoints;
} Glue;

enum { SVC = 2 }; /* EXCP_SWI of the emulator */

static void on_exception(void *uc, uint32_t number, void *user)
{
    Glue *glue = user;

    glue->cleaned = NOWHERE;
    if ((number < 64 && glue->handed >> number & 1) || (number == SVC && (*glue->syndrome & 0xffff) == glue->trap)) {
        PyObject *result = PyObject_CallFunction(glue->special, "I", number);

        if (!result)
            PyErr_WriteUnraisable(glue->special);
        Py_XDECREF(result);
        return;
    }
    if (!dealt_with(&glue->breakpoints, uc, number))
        glue->deliver(glue->cpu);
}

/* CNTVCT_EL0 and CNTPCT_EL0 */
static uint64_t read_counter(void *state, struct cp_register *which)
{
    Glue *glue = which->opaque;

    return glue->words->now >> glue->shift;
}

/* IC IVAU and DC CVAU: what was translated from the page is forgotten, once for a run of lines in one page. */
static void clean_line(void *state, struct cp_register *which, uint64_t address)
{
    Glue *glue = which->opaque;
    uint64_t page = address & ~(PAGE - 1), physical = 0;

    if (page == glue->cleaned && address != page)
        return;
    glue->cleaned = page;
    if (glue->translate(glue->uc, page, 1, &physical)) {
        glue->cleaned = NOWHERE;
        return;
    }
    physical = (physical & ~(PAGE - 1)) - glue->ram;
    if (physical < glue->ram_size)
        glue->invalidate(glue->uc, physical, physical + PAGE);
}

static PyObject *Glue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"handed", "syndrome", "trap", "deliver", "cpu", "special", "words", "shift", "uc", "translate",
                            "invalidate", "ram", "ram_size", NULL};
    unsigned long long handed, syndrome, deliver, cpu, words, uc, translate, invalidate, ram, ram_size;
    unsigned trap, shift;
    PyObject *special;
    Glue *glue;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KKIKKOKIKKKKK", names, &handed, &syndrome, &trap, &deliver, &cpu, &special,
                                     &words, &shift, &uc, &translate, &invalidate, &ram, &ram_size))
        return NULL;
    glue = (Glue *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!glue)
        return NULL;
    glue->handed = handed;
    glue->syndrome = (uint32_t *)(uintptr_t)syndrome;
    glue->trap = trap;
    glue->deliver = (void (*)(void *))(uintptr_t)deliver;
    glue->cpu = (void *)(uintptr_t)cpu;
    glue->special = Py_NewRef(special);
    glue->words = (struct words *)(uintptr_t)words;
    glue->shift = shift;
    glue->uc = (void *)(uintptr_t)uc;
    glue->translate = (int (*)(void *, uint64_t, int, uint64_t *))(uintptr_t)translate;
    glue->invalidate = (void (*)(void *, uint64_t, uint64_t))(uintptr_t)invalidate;
    glue->ram = ram;
    glue->ram_size = ram_size;
    glue->cleaned = NOWHERE;
    return (PyObject *)glue;
}

static PyObject *Glue_addresses(PyObject *self, PyObject *unused)
{
    return Py_BuildValue("KKKK", (unsigned long long)(uintptr_t)on_exception, (unsigned long long)(uintptr_t)read_counter,
                         (unsigned long long)(uintptr_t)clean_line, (unsigned long long)(uintptr_t)self);
}

static PyObject *Glue_breakpoints(PyObject *self, PyObject *args)
{
    return set_breakpoints(&((Glue *)self)->breakpoints, args);
}

static int Glue_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Glue *)self)->special);
    Py_VISIT(((Glue *)self)->breakpoints.left);
    return 0;
}

static int Glue_clear(PyObject *self)
{
    Py_CLEAR(((Glue *)self)->special);
    Py_CLEAR(((Glue *)self)->breakpoints.left);
    return 0;
}

static void Glue_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Glue_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef Glue_methods[] = {
    {"addresses", Glue_addresses, METH_NOARGS, "Addresses of the exception callback, the counter's and the cache's, and their data."},
    {"breakpoints", Glue_breakpoints, METH_VARARGS, BREAKPOINTS_DOC},
    {NULL},
};

static PyType_Slot Glue_slots[] = {
    {Py_tp_doc, "The callbacks of one arm64 processor; see twin.py."},
    {Py_tp_new, Glue_new},
    {Py_tp_dealloc, Glue_dealloc},
    {Py_tp_traverse, Glue_traverse},
    {Py_tp_clear, Glue_clear},
    {Py_tp_methods, Glue_methods},
    {0, NULL},
};

static PyType_Spec Glue_spec = {
    "pyprobe.runtime.system._native.Glue", sizeof(Glue), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, Glue_slots,
};

/*
 * x86-64. The emulator leaves out what SYSCALL does (Intel SDM, volume 2), so it is done here: registers and segments are changed where they
 * lie in CPUX86State, at offsets that x86_64.py hands over in the order of this enum.
 */
enum { RAX, RCX, RDX, R11, RIP, EFLAGS, CC_SRC, CC_OP, DF, HFLAGS, CS, SS, STAR, LSTAR, FMASK, OFFSETS };
enum { CC_OP_EFLAGS = 1, CC_BITS = 0x8d5, DIRECTION = 0x400, RESUME = 0x10000, ALWAYS = 2 };
enum { HF_CPL = 3, HF_CS32 = 1 << 4, HF_SS32 = 1 << 5, HF_ADDSEG = 1 << 6, HF_CS64 = 1 << 15 };
enum { DESC_A = 1 << 8, DESC_W = 1 << 9, DESC_R = 1 << 9, DESC_CS = 1 << 11, DESC_S = 1 << 12, DESC_P = 1 << 15, DESC_L = 1 << 21, DESC_B = 1 << 22,
       DESC_G = 1 << 23 };

struct segment {
    uint32_t selector, unused;
    uint64_t base;
    uint32_t limit, flags;
};

typedef struct {
    PyObject_HEAD
    uint8_t *state;
    uint32_t at[OFFSETS];
    void (*deliver)(void *cpu);
    void *cpu;
    int (*reg_read)(void *uc, int number, void *value);
    int flags;                          /* number of the register of flags */
    struct words *words;
    uint32_t trap;                      /* rax >> 8 of a SYSCALL that is for Python */
    PyObject *special;
    struct breakpoints breakpoints;
} Entry;

#define WORD(entry, which) (*(uint64_t *)((entry)->state + (entry)->at[which]))
#define HALF(entry, which) (*(uint32_t *)((entry)->state + (entry)->at[which]))

static void on_x86_exception(void *uc, uint32_t number, void *user)
{
    Entry *entry = user;

    if (!dealt_with(&entry->breakpoints, uc, number))
        entry->deliver(entry->cpu);
}

static void on_x86_syscall(void *uc, void *user)
{
    Entry *entry = user;
    struct segment *cs = (struct segment *)(entry->state + entry->at[CS]), *ss = (struct segment *)(entry->state + entry->at[SS]);
    uint32_t selector = WORD(entry, STAR) >> 32 & 0xffff;
    uint64_t flags = 0, now;

    if (WORD(entry, RAX) >> 8 == entry->trap) {
        PyObject *result = PyObject_CallFunction(entry->special, "I", 0);
        int ours = result ? PyObject_IsTrue(result) : 1;

        if (!result)
            PyErr_WriteUnraisable(entry->special);
        Py_XDECREF(result);
        if (ours)
            return;
    }
    entry->reg_read(uc, entry->flags, &flags);
    WORD(entry, RCX) = WORD(entry, RIP) + 2;
    WORD(entry, R11) = flags & ~(uint64_t)RESUME;
    now = flags & ~(WORD(entry, FMASK) | RESUME);
    HALF(entry, CC_OP) = CC_OP_EFLAGS;
    WORD(entry, CC_SRC) = now & CC_BITS;
    HALF(entry, DF) = now & DIRECTION ? UINT32_MAX : 1;
    WORD(entry, EFLAGS) = (now & ~(uint64_t)(CC_BITS | DIRECTION)) | ALWAYS;
    *cs = (struct segment){selector & 0xfffc, 0, 0, UINT32_MAX, DESC_G | DESC_L | DESC_P | DESC_S | DESC_CS | DESC_R | DESC_A};
    *ss = (struct segment){(selector + 8) & 0xfffc, 0, 0, UINT32_MAX, DESC_G | DESC_B | DESC_P | DESC_S | DESC_W | DESC_A};
    HALF(entry, HFLAGS) = (HALF(entry, HFLAGS) & ~(uint32_t)(HF_CPL | HF_ADDSEG)) | HF_CS32 | HF_SS32 | HF_CS64;
    WORD(entry, RIP) = WORD(entry, LSTAR) - 2; /* the emulator adds the length of SYSCALL */
}

static int on_rdtsc(void *uc, void *user)
{
    Entry *entry = user;

    WORD(entry, RAX) = (uint32_t)entry->words->now;
    WORD(entry, RDX) = entry->words->now >> 32;
    return 1; /* the instruction is done */
}

static int on_rdtscp(void *uc, void *user)
{
    WORD((Entry *)user, RCX) = 0; /* IA32_TSC_AUX: node and number of the only processor */
    return on_rdtsc(uc, user);
}

static PyObject *Entry_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"state", "offsets", "deliver", "cpu", "reg_read", "flags", "words", "trap", "special", NULL};
    unsigned long long state, deliver, cpu, reg_read, words;
    const char *offsets;
    Py_ssize_t size;
    int flags;
    unsigned trap;
    PyObject *special;
    Entry *entry;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Ky#KKKiKIO", names, &state, &offsets, &size, &deliver, &cpu, &reg_read, &flags, &words,
                                     &trap, &special))
        return NULL;
    if (size != OFFSETS * sizeof(uint32_t)) {
        PyErr_SetString(PyExc_ValueError, "offsets");
        return NULL;
    }
    entry = (Entry *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!entry)
        return NULL;
    memcpy(entry->at, offsets, size);
    entry->state = (uint8_t *)(uintptr_t)state;
    entry->deliver = (void (*)(void *))(uintptr_t)deliver;
    entry->cpu = (void *)(uintptr_t)cpu;
    entry->reg_read = (int (*)(void *, int, void *))(uintptr_t)reg_read;
    entry->flags = flags;
    entry->words = (struct words *)(uintptr_t)words;
    entry->trap = trap;
    entry->special = Py_NewRef(special);
    return (PyObject *)entry;
}

static PyObject *Entry_addresses(PyObject *self, PyObject *unused)
{
    return Py_BuildValue("KKKKK", (unsigned long long)(uintptr_t)on_x86_exception, (unsigned long long)(uintptr_t)on_x86_syscall,
                         (unsigned long long)(uintptr_t)on_rdtsc, (unsigned long long)(uintptr_t)on_rdtscp,
                         (unsigned long long)(uintptr_t)self);
}

static PyObject *Entry_breakpoints(PyObject *self, PyObject *args)
{
    return set_breakpoints(&((Entry *)self)->breakpoints, args);
}

static int Entry_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Entry *)self)->special);
    Py_VISIT(((Entry *)self)->breakpoints.left);
    return 0;
}

static int Entry_clear(PyObject *self)
{
    Py_CLEAR(((Entry *)self)->special);
    Py_CLEAR(((Entry *)self)->breakpoints.left);
    return 0;
}

static void Entry_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Entry_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef Entry_methods[] = {
    {"addresses", Entry_addresses, METH_NOARGS, "Addresses of the exception, syscall, rdtsc and rdtscp callbacks, and their data."},
    {"breakpoints", Entry_breakpoints, METH_VARARGS, BREAKPOINTS_DOC},
    {NULL},
};

static PyType_Slot Entry_slots[] = {
    {Py_tp_doc, "The callbacks of one x86-64 processor; see twin.py."},
    {Py_tp_new, Entry_new},
    {Py_tp_dealloc, Entry_dealloc},
    {Py_tp_traverse, Entry_traverse},
    {Py_tp_clear, Entry_clear},
    {Py_tp_methods, Entry_methods},
    {0, NULL},
};

static PyType_Spec Entry_spec = {
    "pyprobe.runtime.system._native.Entry", sizeof(Entry), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, Entry_slots,
};

/*
 * Stale translations; the rules are in coherence.py. The emulator's two functions are called through slots of its procedure linkage table, in
 * which these stand instead; they are told the emulator, by which the machine is found.
 */
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
    machine = (Coherence *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!machine)
        return NULL;
    machine->coded = PyMem_Calloc(size / PAGE, 1);
    if (!machine->coded) {
        Py_DECREF(machine);
        return PyErr_NoMemory();
    }
    machine->uc = (void *)(uintptr_t)uc;
    machine->cpu = (void *)(uintptr_t)cpu;
    machine->host = (uint8_t *)(uintptr_t)host;
    machine->size = size;
    machine->reset_dirty = (void (*)(void *, uint64_t, uint64_t))(uintptr_t)reset_dirty;
    machine->invalidate = (void (*)(void *, uint64_t, uint64_t))(uintptr_t)invalidate;
    plain_protect = (void (*)(void *, uint64_t))(uintptr_t)protect;
    plain_written = (void (*)(void *, void *, uint64_t, int, uint64_t))(uintptr_t)written;
    machine->next = coherent;
    coherent = machine;
    *(void **)(uintptr_t)protect_slot = (void *)on_protect;
    *(void **)(uintptr_t)written_slot = (void *)on_written;
    return (PyObject *)machine;
}

static void Coherence_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Coherence **at = &coherent;

    while (*at && *at != (Coherence *)self)
        at = &(*at)->next;
    if (*at)
        *at = (*at)->next;
    PyMem_Free(((Coherence *)self)->coded);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyType_Slot Coherence_slots[] = {
    {Py_tp_doc, "Keeps one machine's translations in step with its RAM, as long as it lives; see coherence.py."},
    {Py_tp_new, Coherence_new},
    {Py_tp_dealloc, Coherence_dealloc},
    {0, NULL},
};

static PyType_Spec Coherence_spec = {
    "pyprobe.runtime.system._native.Coherence", sizeof(Coherence), 0, Py_TPFLAGS_DEFAULT, Coherence_slots,
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    int error;

    if (!type)
        return -1;
    error = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return error;
}

static int execute(PyObject *module)
{
    if (add_type(module, "Glue", &Glue_spec) < 0 || add_type(module, "Entry", &Entry_spec) < 0 ||
        add_type(module, "Coherence", &Coherence_spec) < 0)
        return -1;
    return PyModule_AddStringConstant(module, "SOURCE", SOURCE);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "What a booted kernel does most often.", .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
