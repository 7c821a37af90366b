/* Table and Trap: what is called at an address, by address. */
#include "_native.h"

static int table_allocate(Table *table, unsigned bits)
{
    table->slots = PyMem_Calloc((size_t)1 << bits, sizeof(struct slot));
    if (!table->slots) {
        PyErr_NoMemory();
        return -1;
    }
    table->mask = (UINT64_C(1) << bits) - 1;
    table->shift = 64 - bits;
    return 0;
}

static void place(Table *table, uint64_t address, PyObject *callback)
{
    uint64_t i = home(table, address);

    while (table->slots[i].callback)
        i = (i + 1) & table->mask;
    table->slots[i].address = address;
    table->slots[i].callback = callback;
}

static void count(Table *table, uint64_t address)
{
    unsigned class = class_of(address);

    table->filter[class / 64] |= UINT64_C(1) << class % 64;
    table->used++;
}

/* An address has gone from the table: the filter's bit goes with the last one of its class. */
static void discount(Table *table, uint64_t address)
{
    unsigned class = class_of(address);

    table->used--;
    for (uint64_t i = home(table, address); table->slots[i].callback; i = (i + 1) & table->mask)
        if (class_of(table->slots[i].address) == class)
            return;
    table->filter[class / 64] &= ~(UINT64_C(1) << class % 64);
}

static PyObject *Table_set(PyObject *self, PyObject *args)
{
    Table *table = (Table *)self;
    unsigned long long address;
    PyObject *callback;

    if (!PyArg_ParseTuple(args, "KO", &address, &callback))
        return NULL;
    for (uint64_t i = home(table, address); table->slots[i].callback; i = (i + 1) & table->mask)
        if (table->slots[i].address == address) {
            PyObject *old = table->slots[i].callback;
            table->slots[i].callback = Py_NewRef(callback);
            Py_DECREF(old);
            Py_RETURN_NONE;
        }
    if ((uint64_t)(table->used + 1) * 4 > table->mask + 1) {
        struct slot *old = table->slots;
        uint64_t n = table->mask + 1;

        if (table_allocate(table, 64 - table->shift + 1) < 0) {
            table->slots = old;
            return NULL;
        }
        for (uint64_t i = 0; i < n; i++)
            if (old[i].callback)
                place(table, old[i].address, old[i].callback);
        PyMem_Free(old);
    }
    place(table, address, Py_NewRef(callback));
    count(table, address);
    Py_RETURN_NONE;
}

static PyObject *Table_delete(PyObject *self, PyObject *arg)
{
    Table *table = (Table *)self;
    uint64_t address = PyLong_AsUnsignedLongLong(arg), i, j;
    PyObject *old;

    if (PyErr_Occurred())
        return NULL;
    for (i = home(table, address); table->slots[i].callback; i = (i + 1) & table->mask)
        if (table->slots[i].address == address)
            break;
    old = table->slots[i].callback;
    if (!old)
        Py_RETURN_NONE;
    /* Close the gap, so that no search ends early: move up whoever may not be reached past it. */
    for (j = (i + 1) & table->mask; table->slots[j].callback; j = (j + 1) & table->mask) {
        uint64_t h = home(table, table->slots[j].address);
        if (((j - h) & table->mask) >= ((j - i) & table->mask)) {
            table->slots[i] = table->slots[j];
            i = j;
        }
    }
    table->slots[i].callback = NULL;
    discount(table, address);
    Py_DECREF(old);
    Py_RETURN_NONE;
}

static PyObject *Table_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *dict, *key, *value;
    Py_ssize_t position = 0;
    unsigned bits = 3;
    Table *table;

    if (!PyArg_ParseTuple(args, "O!", &PyDict_Type, &dict))
        return NULL;
    table = new_object(type);
    if (!table)
        return NULL;
    while ((Py_ssize_t)1 << bits < 4 * PyDict_Size(dict))
        bits++;
    if (table_allocate(table, bits) < 0) {
        Py_DECREF(table);
        return NULL;
    }
    while (PyDict_Next(dict, &position, &key, &value)) {
        uint64_t address = PyLong_AsUnsignedLongLong(key);
        if (PyErr_Occurred()) {
            Py_DECREF(table);
            return NULL;
        }
        place(table, address, Py_NewRef(value));
        count(table, address);
    }
    return (PyObject *)table;
}

static int Table_traverse(PyObject *self, visitproc visit, void *arg)
{
    Table *table = (Table *)self;

    Py_VISIT(Py_TYPE(self));
    if (table->slots)
        for (uint64_t i = 0; i <= table->mask; i++)
            Py_VISIT(table->slots[i].callback);
    return 0;
}

static int Table_clear(PyObject *self)
{
    Table *table = (Table *)self;

    if (table->slots)
        for (uint64_t i = 0; i <= table->mask; i++)
            Py_CLEAR(table->slots[i].callback);
    table->used = 0;
    return 0;
}

static void Table_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Table_clear(self);
    PyMem_Free(((Table *)self)->slots);
    free_object(self);
}

static PyMethodDef Table_methods[] = {
    {"set", Table_set, METH_VARARGS, "set(address, callback): add or replace."},
    {"delete", Table_delete, METH_O, "delete(address): remove if there."},
    {NULL},
};

static PyType_Slot Table_slots[] = {
    {Py_tp_doc, "Table({address: callback}): callables by address, for Core."},
    {Py_tp_new, Table_new},
    {Py_tp_dealloc, Table_dealloc},
    {Py_tp_traverse, Table_traverse},
    {Py_tp_clear, Table_clear},
    {Py_tp_methods, Table_methods},
    {0, NULL},
};

PyType_Spec Table_spec = {
    "pyprobe.runtime.machine._native.Table", sizeof(Table), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, Table_slots,
};

/* Traps. */

static PyObject *Trap_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    unsigned long long slot;
    PyObject *handler;
    Trap *trap;

    if (!PyArg_ParseTuple(args, "OK", &handler, &slot))
        return NULL;
    trap = new_object(type);
    if (!trap)
        return NULL;
    trap->handler = Py_NewRef(handler);
    trap->slot = slot;
    return (PyObject *)trap;
}

static int Trap_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Trap *)self)->handler);
    return 0;
}

static int Trap_clear(PyObject *self)
{
    Py_CLEAR(((Trap *)self)->handler);
    return 0;
}

static void Trap_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Trap_clear(self);
    free_object(self);
}

static PyType_Slot Trap_slots[] = {
    {Py_tp_doc, "Trap(handler, slot): a breakpoint, for a Table."},
    {Py_tp_new, Trap_new},
    {Py_tp_dealloc, Trap_dealloc},
    {Py_tp_traverse, Trap_traverse},
    {Py_tp_clear, Trap_clear},
    {0, NULL},
};

PyType_Spec Trap_spec = {
    "pyprobe.runtime.machine._native.Trap", sizeof(Trap), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, Trap_slots,
};
