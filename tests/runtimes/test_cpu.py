"""CPUs, as their operating systems describe them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from r2p_edge.runtimes import cpu as _cpu

RASPBERRY_PI_5 = """\
processor	: 0
BogoMIPS	: 108.00
Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc \
dcpop asimddp
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x4
CPU part	: 0xd0b
CPU revision	: 1

Revision	: d04170
Serial		: 0123456789abcdef
Model		: Raspberry Pi 5 Model B Rev 1.0
"""


RASPBERRY_PI_4 = """\
processor	: 0
BogoMIPS	: 108.00
Features	: fp asimd evtstrm crc32 cpuid
CPU implementer	: 0x41
CPU part	: 0xd08

Model		: Raspberry Pi 4 Model B Rev 1.4
"""


ORIN = """\
processor	: 0
model name	: ARMv8 Processor rev 1 (v8l)
BogoMIPS	: 62.50
Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc \
dcpop asimddp uscat ilrcpc flagm paca pacg
CPU implementer	: 0x41
CPU part	: 0xd42
"""


GRAVITON_3 = """\
processor	: 0
Features	: fp asimd asimddp sve i8mm bf16 dgh rng
CPU implementer	: 0x41
CPU part	: 0xd40
"""


HASWELL = """\
processor	: 0
vendor_id	: GenuineIntel
model name	: Intel(R) Core(TM) i5-4590 CPU @ 3.30GHz
flags		: fpu sse sse2 ht ssse3 fma cx16 sse4_1 sse4_2 avx f16c avx2 bmi2

processor	: 1
model name	: Intel(R) Core(TM) i5-4590 CPU @ 3.30GHz
flags		: fpu
"""


SKYLAKE = "model name : Intel(R) Xeon(R) Gold 6148\nflags : ssse3 avx2 avx512f avx512bw avx512vl\n"


GOLDMONT = "model name : Intel(R) Celeron(R) J4125\nflags : sse2 ssse3 sse4_1 sse4_2 sha_ni\n"


ICE_LAKE = "model name : Intel(R) Xeon(R) 8375C\nflags : ssse3 avx2 avx512f avx512_vnni\n"


ALDER_LAKE = "model name : Intel(R) N100\nflags : ssse3 avx2 avx_vnni\n"


SAPPHIRE_RAPIDS = (
    "model name : Intel(R) Xeon(R) 8480+\n"
    "flags : ssse3 avx2 avx512f avx_vnni avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8\n"
)


LOONGARCH = "Model Name : Loongson-3A5000\nFeatures : cpucfg lam ual fpu lsx lasx\n"


@pytest.mark.parametrize(
    ("text", "model", "present", "int8"),
    [
        (RASPBERRY_PI_5, "Raspberry Pi 5 Model B Rev 1.0", {"asimddp"}, "fast"),
        (RASPBERRY_PI_4, "Raspberry Pi 4 Model B Rev 1.4", set(), "slow"),
        (ORIN, "ARMv8 Processor rev 1 (v8l)", {"asimddp"}, "fast"),
        (
            GRAVITON_3,
            "implementer 0x41, part 0xd40",
            {"asimddp", "sve", "i8mm", "bf16"},
            "fast",
        ),
        (HASWELL, "Intel(R) Core(TM) i5-4590 CPU @ 3.30GHz", {"ssse3", "avx2"}, "saturating"),
        (SKYLAKE, "Intel(R) Xeon(R) Gold 6148", {"ssse3", "avx2", "avx512f"}, "saturating"),
        (GOLDMONT, "Intel(R) Celeron(R) J4125", {"ssse3"}, "saturating"),
        (ICE_LAKE, "Intel(R) Xeon(R) 8375C", {"ssse3", "avx2", "avx512f", "avx512_vnni"}, "fast"),
        (ALDER_LAKE, "Intel(R) N100", {"ssse3", "avx2", "avx_vnni"}, "fast"),
        (SAPPHIRE_RAPIDS, "Intel(R) Xeon(R) 8480+", set(_cpu._X86), "fast"),
        (LOONGARCH, None, None, "unknown"),
        ("", None, None, "unknown"),
    ],
    # Not the sets: their order differs from process to process, and pytest-xdist compares names.
    ids=lambda value: value[:12].strip() if isinstance(value, str) else None,
)
def test_cpuinfo(text, model, present, int8):
    cpu = _cpu.from_cpuinfo(text)
    assert cpu.model == model
    assert cpu.int8 == int8
    if present is None:
        assert cpu.features is None
    else:
        assert set(cpu.features) == set(_cpu._ARM if "implementer" in text else _cpu._X86)
        assert {name for name, there in cpu.features.items() if there} == present


def test_a_board_is_named():
    board = "NVIDIA Jetson AGX Orin Developer Kit\0"
    assert _cpu.from_cpuinfo(ORIN, board).model == "NVIDIA Jetson AGX Orin Developer Kit"


M2 = """\
hw.optional.AdvSIMD: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_BF16: 1
hw.optional.arm.FEAT_I8MM: 1
machdep.cpu.brand_string: Apple M2
"""


INTEL_MAC = """\
hw.optional.supplementalsse3: 1
hw.optional.avx2_0: 1
hw.optional.avx512f: 0
machdep.cpu.brand_string: Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz
"""


@pytest.mark.parametrize(
    ("text", "model", "present", "int8"),
    [
        (M2, "Apple M2", {"asimddp", "bf16", "i8mm"}, "fast"),
        (
            INTEL_MAC,
            "Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz",
            {"ssse3", "avx2"},
            "saturating",
        ),
        ("machdep.cpu.brand_string: Apple M1\n", "Apple M1", None, "unknown"),
    ],
    ids=["M2", "Intel", "unknown"],
)
def test_sysctl(text, model, present, int8):
    cpu = _cpu.from_sysctl(text)
    assert (cpu.model, cpu.int8) == (model, int8)
    named = {name for name, there in (cpu.features or {}).items() if there}
    assert named == (present or set())


def test_the_cpu_of_a_mac_is_asked_for(tmp_path, monkeypatch):
    sysctl = tmp_path / "sysctl"
    sysctl.write_text(f"#!/bin/sh\ncat <<'END'\n{M2}END\n")
    sysctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert _cpu.read_cpu() == _cpu.from_sysctl(M2)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert _cpu.read_cpu() == (None, None)


def test_a_system_that_tells_nothing(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    assert _cpu.read_cpu() == (None, None)
