"""C++ names, compared with what GCC's C++ runtime makes of them."""

from __future__ import annotations

import ctypes
import random
from pathlib import Path

import pytest

from pyprobe.runtime.machine.demangle import demangled, without_parameters
from pyprobe.runtime.machine.symbols import Image

LIBRARY = "libstdc++.so.6"

NAMES = {
    "main": "main",
    "_Z": "_Z",
    "_Zfoo": "_Zfoo",
    "_Z3foov": "foo()",
    "_Z3foov.cold": "foo() [clone .cold]",
    "_Z3fooi.constprop.0.isra.1": "foo(int) [clone .constprop.0] [clone .isra.1]",
    "_ZN2ns2fnEPKc": "ns::fn(char const*)",
    "_ZNK2ns1WplERKS0_": "ns::W::operator+(ns::W const&) const",
    "_ZN2ns1WD2Ev": "ns::W::~W()",
    "_ZN2ns2tpIiEET_S1_": "int ns::tp<int>(int)",
    "_ZN12_GLOBAL__N_11fEv": "(anonymous namespace)::f()",
    "_ZZ4mainENKUlvE_clEv": "main::{lambda()#1}::operator()() const",
    "_ZZ1fvE1x": "f()::x",
    "_ZGVZ1fvE1x": "guard variable for f()::x",
    "_ZTVN2ns1WE": "vtable for ns::W",
    "_ZThn16_N1A1fEv": "non-virtual thunk to A::f()",
    "_ZTv0_n24_N1A1fEv": "virtual thunk to A::f()",
    "_Z1fPFviE": "f(void (*)(int))",
    "_Z1fM1AKFivE": "f(int (A::*)() const)",
    "_Z1fRA3_A4_i": "f(int (&) [3][4])",
    "_Z1fIiEPFvcET_": "void (*f<int>(int))(char)",
    "_ZN1AcvbEv": "A::operator bool()",
    "_ZN1AcvPT_IiEEv": "A::operator int*<int>()",
    "_Z1fIJidEEvDpT_": "void f<int, double>(int, double)",
    "_Z1fIJEEvDpT_": "void f<>()",
    "_Z1fILi3ELb1ELc65EEvv": "void f<3, true, (char)65>()",
    "_Z1fIXadL_ZN1A1gEvEEEvv": "void f<&A::g>()",
    "_Z1fIiEDTplfp_Li1EET_": "decltype ({parm#1}+(1)) f<int>(int)",
    "_ZlsRSoRK1A": "operator<<(std::ostream&, A const&)",
    "_ZNSsC1Ev": "std::basic_string<char, std::char_traits<char>, std::allocator<char> >::basic_string()",
    "_Zli3_kmy": 'operator"" _km(unsigned long long)',
    "_ZN1AB3abiC2Ev": "A[abi:abi]::A()",
    "_Z1fDv4_fDn": "f(float __vector(4), decltype(nullptr))",
    "_ZN4core3fmt9Formatter3new17h0123456789abcdefE": "core::fmt::Formatter::new::h0123456789abcdef",
    "_RNvC3foo3bar": "_RNvC3foo3bar",
}


@pytest.fixture(scope="module")
def reference():
    """abi::__cxa_demangle()."""
    function = ctypes.CDLL(LIBRARY).__cxa_demangle
    function.restype = ctypes.c_void_p
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]

    def demangle(name: str) -> str:
        found = function(name.encode(), None, None, None)
        if not found:
            return name
        text = ctypes.string_at(found).decode()
        free(found)
        return text

    return demangle


@pytest.mark.parametrize("name", NAMES)
def test_forms(name, reference):
    assert demangled(name) == NAMES[name] == (reference(name) if name.startswith("_Z") else name)


def test_a_whole_library(reference):
    ctypes.CDLL(LIBRARY)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        path = next(line.split()[-1] for line in maps if Path(line.split()[-1]).name.startswith("libstdc++"))
    names = [name for name in Image.open(path).names if name.startswith("_Z")]
    assert len(names) > 3000
    assert [(name, demangled(name)) for name in names] == [(name, reference(name)) for name in names]


def test_what_stands_for_too_much_stays():
    """Each argument is twice as long as the one before; without a bound the last of 60 would take 2**60 characters."""
    references = ["S_", *(f"S{digit}_" for digit in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")]
    doubling = "_Z1f1aIiiE" + "".join(f"S_I{r}{r}E" for r in references[1:])
    for name in (doubling, "_Z1f" + "P" * 100_000 + "i", "_Z" + "N1a" * 10_000, "_Z1f" + "N1aI" * 10_000, "_Z1fIX" + "cl" * 5_000):
        assert demangled(name) == name


def test_damaged_names_are_no_trouble():
    chance = random.Random(1)
    for _ in range(5000):
        name = list(chance.choice(list(NAMES)))
        for _ in range(3):
            name[chance.randrange(len(name))] = chance.choice("SITEDJNZLXrVKPROFAM0123456789_clpsvi\0\xff")
        assert isinstance(demangled("".join(name)), str)


def test_parameters_are_left_out():
    assert without_parameters("ns::W::operator+(ns::W const&) const") == "ns::W::operator+"
    assert without_parameters("void (*f<int>(int))(char)") == "void (*f<int>(int))"
    assert without_parameters("main") == "main"
