/* The serial port as a kernel's console uses it, a character at a time; the rules are in devices/uart8250.py. */
#include "_native.h"

enum { DATA = 0, LINE_STATUS = 5, EMPTY = 0x60 };

typedef struct {
    PyObject_HEAD
    PyObject *sent;                     /* bytearray */
    const uint8_t *plain;               /* not 0: a character that is written is sent and nothing else happens */
    uint32_t port;                      /* the first, in a PC */
    uint64_t (*read)(void *uc, uint64_t offset, unsigned size, void *user); /* everything else: callbacks of ctypes */
    void (*write)(void *uc, uint64_t offset, unsigned size, uint64_t value, void *user);
    uint32_t (*in)(void *uc, uint32_t port, int size, void *user);
    void (*out)(void *uc, uint32_t port, int size, uint32_t value, void *user);
} Console;

static bool sent(Console *console, uint64_t value)
{
    Py_ssize_t n = PyByteArray_Size(console->sent);

    if (!*console->plain)
        return false;
    if (PyByteArray_Resize(console->sent, n + 1) < 0) {
        PyErr_Clear(); /* Python will come upon it too, and knows whom to tell */
        return false;
    }
    PyByteArray_AsString(console->sent)[n] = (char)value;
    return true;
}

static uint64_t console_read(void *uc, uint64_t offset, unsigned size, void *user)
{
    Console *console = user;

    return offset == LINE_STATUS ? EMPTY : console->read(uc, offset, size, NULL);
}

static void console_write(void *uc, uint64_t offset, unsigned size, uint64_t value, void *user)
{
    Console *console = user;

    if (offset != DATA || !sent(console, value))
        console->write(uc, offset, size, value, NULL);
}

static uint32_t console_in(void *uc, uint32_t port, int size, void *user)
{
    Console *console = user;

    return port == console->port + LINE_STATUS ? EMPTY : console->in(uc, port, size, NULL);
}

static void console_out(void *uc, uint32_t port, int size, uint32_t value, void *user)
{
    Console *console = user;

    if (port != console->port + DATA || !sent(console, value))
        console->out(uc, port, size, value, NULL);
}

static PyObject *Console_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"sent", "plain", "port", "read", "write", NULL};
    unsigned long long plain, read, write;
    unsigned port;
    PyObject *bytes;
    Console *console;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!KIKK", names, &PyByteArray_Type, &bytes, &plain, &port, &read, &write))
        return NULL;
    console = new_object(type);
    if (!console)
        return NULL;
    console->sent = Py_NewRef(bytes);
    console->plain = POINTER(plain);
    console->port = port;
    console->read = POINTER(read);
    console->write = POINTER(write);
    console->in = POINTER(read);
    console->out = POINTER(write);
    return (PyObject *)console;
}

static PyObject *Console_addresses(PyObject *self, PyObject *unused)
{
    return Py_BuildValue("KKKKK", NUMBER(console_read), NUMBER(console_write), NUMBER(console_in), NUMBER(console_out), NUMBER(self));
}

static void Console_dealloc(PyObject *self)
{
    Py_XDECREF(((Console *)self)->sent);
    free_object(self);
}

static PyMethodDef Console_methods[] = {
    {"addresses", Console_addresses, METH_NOARGS, "Addresses of the callbacks for memory (read, write) and for ports (in, out), and their data."},
    {NULL},
};

static PyType_Slot Console_slots[] = {
    {Py_tp_doc, "The way of a console's characters; see devices/uart8250.py."},
    {Py_tp_new, Console_new},
    {Py_tp_dealloc, Console_dealloc},
    {Py_tp_methods, Console_methods},
    {0, NULL},
};

PyType_Spec Console_spec = {
    "pyprobe.runtime.system._native.Console", sizeof(Console), 0, Py_TPFLAGS_DEFAULT, Console_slots,
};
