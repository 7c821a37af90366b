/* arm64: taking exceptions, reading the counter, cleaning caches. */
#include "_native.h"

struct cp_register { /* ARMCPRegInfo of the emulator: what is needed of it */
    uint8_t unused[32];
    void *opaque;
};

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
    uint32_t *in_pieces;
    struct breakpoints breakpoints;
} Glue;

enum { SVC = 2 }; /* EXCP_SWI of the emulator */

static void on_exception(void *uc, uint32_t number, void *user)
{
    Glue *glue = user;

    glue->cleaned = NOWHERE;
    *glue->in_pieces = 0;
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
                            "invalidate", "ram", "ram_size", "in_pieces", NULL};
    unsigned long long handed, syndrome, deliver, cpu, words, uc, translate, invalidate, ram, ram_size, in_pieces;
    unsigned trap, shift;
    PyObject *special;
    Glue *glue;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KKIKKOKIKKKKKK", names, &handed, &syndrome, &trap, &deliver, &cpu, &special,
                                     &words, &shift, &uc, &translate, &invalidate, &ram, &ram_size, &in_pieces))
        return NULL;
    glue = new_object(type);
    if (!glue)
        return NULL;
    glue->handed = handed;
    glue->syndrome = POINTER(syndrome);
    glue->trap = trap;
    glue->deliver = POINTER(deliver);
    glue->cpu = POINTER(cpu);
    glue->special = Py_NewRef(special);
    glue->words = POINTER(words);
    glue->shift = shift;
    glue->uc = POINTER(uc);
    glue->translate = POINTER(translate);
    glue->invalidate = POINTER(invalidate);
    glue->ram = ram;
    glue->ram_size = ram_size;
    glue->in_pieces = POINTER(in_pieces);
    glue->cleaned = NOWHERE;
    return (PyObject *)glue;
}

static PyObject *Glue_addresses(PyObject *self, PyObject *unused)
{
    return Py_BuildValue("KKKK", NUMBER(on_exception), NUMBER(read_counter),
                         NUMBER(clean_line), NUMBER(self));
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
    PyObject_GC_UnTrack(self);
    Glue_clear(self);
    free_object(self);
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

PyType_Spec Glue_spec = {
    "pyprobe.runtime.system._native.Glue", sizeof(Glue), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, Glue_slots,
};
