/* Core: the callbacks of one engine and what they consult, dressed for Python; and the module. */
#include "_native.h"

static PyObject *Core_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"state", "words", "uc", "emu_start", "emu_stop", "reg_read", "ctl", "tlb_flush",
                            "attend", "enter", "miss", "fail", NULL};
    unsigned long long state, words, uc, emu_start, emu_stop, reg_read, ctl;
    PyObject *attend, *enter, *miss, *fail;
    int tlb_flush;
    Core *core;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KKKKKKKiOOOO", names, &state, &words, &uc, &emu_start, &emu_stop, &reg_read,
                                     &ctl, &tlb_flush, &attend, &enter, &miss, &fail))
        return NULL;
    core = new_object(type);
    if (!core)
        return NULL;
    core->state = POINTER(state);
    core->words = POINTER(words);
    core->uc = POINTER(uc);
    core->emu_start = POINTER(emu_start);
    core->emu_stop = POINTER(emu_stop);
    core->reg_read = POINTER(reg_read);
    core->ctl = POINTER(ctl);
    core->tlb_flush = tlb_flush;
    core->attend = Py_NewRef(attend);
    core->enter = Py_NewRef(enter);
    core->miss = Py_NewRef(miss);
    core->fail = Py_NewRef(fail);
    core->trap = -1;
    return (PyObject *)core;
}

static PyObject *Core_activate(PyObject *self, PyObject *args)
{
    Core *core = (Core *)self;
    PyObject *pages, *blocks, *exact, *traps, *old[4];

    if (!PyArg_ParseTuple(args, "O!OOO", &PyDict_Type, &pages, &blocks, &exact, &traps))
        return NULL;
    old[0] = core->pages;
    old[1] = (PyObject *)core->blocks;
    old[2] = (PyObject *)core->exact;
    old[3] = (PyObject *)core->traps;
    core->pages = Py_NewRef(pages);
    core->blocks = (Table *)Py_NewRef(blocks);
    core->exact = (Table *)Py_NewRef(exact);
    core->traps = (Table *)Py_NewRef(traps);
    for (int i = 0; i < 4; i++)
        Py_XDECREF(old[i]);
    look(core);
    Py_RETURN_NONE;
}

static int Core_traverse(PyObject *self, visitproc visit, void *arg)
{
    Core *core = (Core *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(core->attend);
    Py_VISIT(core->enter);
    Py_VISIT(core->miss);
    Py_VISIT(core->fail);
    Py_VISIT(core->pages);
    Py_VISIT(core->blocks);
    Py_VISIT(core->exact);
    Py_VISIT(core->traps);
    Py_VISIT(core->interrupted);
    Py_VISIT(core->trap_type);
    Py_VISIT(core->trap_address);
    Py_VISIT(core->go_to);
    return 0;
}

static int Core_clear(PyObject *self)
{
    Core *core = (Core *)self;

    Py_CLEAR(core->attend);
    Py_CLEAR(core->enter);
    Py_CLEAR(core->miss);
    Py_CLEAR(core->fail);
    Py_CLEAR(core->pages);
    Py_CLEAR(core->blocks);
    Py_CLEAR(core->exact);
    Py_CLEAR(core->traps);
    Py_CLEAR(core->interrupted);
    Py_CLEAR(core->trap_type);
    Py_CLEAR(core->trap_address);
    Py_CLEAR(core->go_to);
    return 0;
}

static void Core_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Core_clear(self);
    free_object(self);
}

static PyObject *Core_addresses(PyObject *self, PyObject *unused)
{
    return Py_BuildValue("KKKKKKK", NUMBER(on_block), NUMBER(on_code), NUMBER(on_fill), NUMBER(on_syscall), NUMBER(on_interrupt),
                         NUMBER(on_trap), NUMBER(self));
}

static PyObject *Core_traces(PyObject *self, PyObject *args)
{
    Core *core = (Core *)self;
    unsigned long long link, saved_flags;

    if (!PyArg_ParseTuple(args, "KKi", &link, &saved_flags, &core->flags))
        return NULL;
    core->link = POINTER(link);
    core->saved_flags = POINTER(saved_flags);
    Py_RETURN_NONE;
}

static PyObject *Core_breakpoints(PyObject *self, PyObject *args)
{
    Core *core = (Core *)self;
    PyObject *interrupted, *trap_address, *go_to, *trap_type;
    unsigned long long pc;

    if (!PyArg_ParseTuple(args, "KiiiOOOO", &pc, &core->trap, &core->trap_advance, &core->trap_cost, &interrupted, &trap_address, &go_to,
                          &trap_type))
        return NULL;
    core->pc = POINTER(pc);
    core->interrupted = Py_NewRef(interrupted);
    core->trap_type = (PyTypeObject *)Py_NewRef(trap_type);
    core->trap_address = Py_NewRef(trap_address);
    core->go_to = Py_NewRef(go_to);
    Py_RETURN_NONE;
}

static PyObject *Core_kicks(PyObject *self, PyObject *arg)
{
    uint64_t address = PyLong_AsUnsignedLongLong(arg);

    if (PyErr_Occurred())
        return NULL;
    ((Core *)self)->exit_request = POINTER(address);
    Py_RETURN_NONE;
}

static PyObject *Core_masks(PyObject *self, PyObject *args)
{
    Core *core = (Core *)self;
    unsigned long long address, bit;

    if (!PyArg_ParseTuple(args, "KK", &address, &bit))
        return NULL;
    core->accepts = POINTER(address);
    core->accepted = bit;
    Py_RETURN_NONE;
}

static PyObject *Core_start(PyObject *self, PyObject *unused)
{
    Core *core = (Core *)self;

    look(core);
    return PyLong_FromLong(core->emu_start(core->uc, core->state->pc, 0, 0, 0));
}

static PyObject *Core_flush(PyObject *self, PyObject *unused)
{
    Core *core = (Core *)self;

    core->ctl(core->uc, core->tlb_flush);
    Py_RETURN_NONE;
}

static PyMethodDef Core_methods[] = {
    {"traces", Core_traces, METH_VARARGS,
     "traces(link, saved_flags, flags): where the syscall instruction leaves the pc and the flags; addresses, register number."},
    {"breakpoints", Core_breakpoints, METH_VARARGS,
     "breakpoints(pc, trap, advance, cost, interrupted, trap_address, go_to, Trap): for the interrupt callback; pc: address of the pc or 0."},
    {"masks", Core_masks, METH_VARARGS, "masks(address, bit): the 64-bit word in which the bit says that interrupts are accepted."},
    {"kicks", Core_kicks, METH_O, "kicks(address): the 16-bit word to fill with ones when state.kick asks for it."},
    {"start", Core_start, METH_NOARGS, "Run from state.pc; returns libunicorn's error."},
    {"flush", Core_flush, METH_NOARGS, "Empty the translation buffer."},
    {"activate", Core_activate, METH_VARARGS, "activate(pages, blocks, exact, traps): page table and Tables of the current space."},
    {"addresses", Core_addresses, METH_NOARGS, "Addresses of the block, code, fill, syscall, interrupt and trap callbacks, and their user data."},
    {NULL},
};

static PyType_Slot Core_slots[] = {
    {Py_tp_doc, "The callbacks of one engine; see twin.py."},
    {Py_tp_new, Core_new},
    {Py_tp_dealloc, Core_dealloc},
    {Py_tp_traverse, Core_traverse},
    {Py_tp_clear, Core_clear},
    {Py_tp_methods, Core_methods},
    {0, NULL},
};

static PyType_Spec Core_spec = {
    "pyprobe.runtime.machine._native.Core", sizeof(Core), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, Core_slots,
};

static int execute(PyObject *module)
{
    if (add_type(module, &Table_spec) < 0 || add_type(module, &Trap_spec) < 0 || add_type(module, &Core_spec) < 0 ||
        add_type(module, &Translation_spec) < 0)
        return -1;
    return PyModule_AddStringConstant(module, "SOURCE", SOURCE);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "The engine's hot callbacks.", .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
