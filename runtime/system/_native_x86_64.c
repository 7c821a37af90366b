/*
 * x86-64: taking exceptions, system calls and the time stamp counter. The emulator leaves out what SYSCALL does (Intel SDM, volume 2), so it
 * is done here: registers and segments are changed where they lie in CPUX86State, at offsets that x86_64.py hands over in the order of the
 * first enum.
 */
#include <string.h>

#include "_native.h"

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
    uint32_t *in_pieces;
    struct breakpoints breakpoints;
} Entry;

#define WORD(entry, which) (*(uint64_t *)((entry)->state + (entry)->at[which]))
#define HALF(entry, which) (*(uint32_t *)((entry)->state + (entry)->at[which]))

static void on_x86_exception(void *uc, uint32_t number, void *user)
{
    Entry *entry = user;

    *entry->in_pieces = 0;
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
    static char *names[] = {"state", "offsets", "deliver", "cpu", "reg_read", "flags", "words", "trap", "special", "in_pieces", NULL};
    unsigned long long state, deliver, cpu, reg_read, words, in_pieces;
    const char *offsets;
    Py_ssize_t size;
    int flags;
    unsigned trap;
    PyObject *special;
    Entry *entry;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Ky#KKKiKIOK", names, &state, &offsets, &size, &deliver, &cpu, &reg_read, &flags, &words,
                                     &trap, &special, &in_pieces))
        return NULL;
    if (size != OFFSETS * sizeof(uint32_t)) {
        PyErr_SetString(PyExc_ValueError, "offsets");
        return NULL;
    }
    entry = new_object(type);
    if (!entry)
        return NULL;
    memcpy(entry->at, offsets, size);
    entry->state = POINTER(state);
    entry->deliver = POINTER(deliver);
    entry->cpu = POINTER(cpu);
    entry->reg_read = POINTER(reg_read);
    entry->flags = flags;
    entry->words = POINTER(words);
    entry->trap = trap;
    entry->special = Py_NewRef(special);
    entry->in_pieces = POINTER(in_pieces);
    return (PyObject *)entry;
}

static PyObject *Entry_addresses(PyObject *self, PyObject *unused)
{
    return Py_BuildValue("KKKKK", NUMBER(on_x86_exception), NUMBER(on_x86_syscall),
                         NUMBER(on_rdtsc), NUMBER(on_rdtscp),
                         NUMBER(self));
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
    PyObject_GC_UnTrack(self);
    Entry_clear(self);
    free_object(self);
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

PyType_Spec Entry_spec = {
    "pyprobe.runtime.system._native.Entry", sizeof(Entry), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, Entry_slots,
};
