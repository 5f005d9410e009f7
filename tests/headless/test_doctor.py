"""`zoetrope doctor` on machines where something is there, missing, old or broken."""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from zoetrope.headless import doctor
from zoetrope.headless.doctor import Finding
from zoetrope.nodes import NODES

from .fake_server import DEFINITIONS, FakeComfy


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A machine without a ComfyUI, and a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    return tmp_path


def found(section: str, **options) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.examine(**options) if finding.section == section}


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    return parser.parse_args(given)


# The report


def test_a_machine_with_everything_gives_0_and_says_so(here, capsys):
    assert doctor.main(arguments()) == 0

    shown = capsys.readouterr().out
    assert shown.endswith("Everything needed is there.\n")
    assert [line for line in shown.splitlines() if line and line[0] != " "][:-1] == [
        "Installed", "Video", "Machine", "Models", "ComfyUI",
    ]  # fmt: skip


def test_what_is_missing_is_marked_and_gives_2(here, capsys):
    (here / "file").write_text("")

    assert doctor.main(arguments("--output", "file")) == 2

    shown = capsys.readouterr().out
    assert f"  MISSING disk: {here / 'file'} is not a folder\n          Choose another folder with --output." in shown
    assert shown.endswith("1 thing is missing: see what is marked.\n")


def test_json_says_the_same(here, capsys):
    assert doctor.main(arguments("--json", "--output", str(here))) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert {finding["section"] for finding in report["findings"]} == {
        "Installed", "Video", "Machine", "Models", "ComfyUI",
    }  # fmt: skip
    assert report["findings"][0]["name"] == "Zoetrope"


def test_a_section_that_breaks_off_does_not_take_the_others_with_it(here, monkeypatch):
    def broken():
        raise OSError("libav is not the one it was")
        yield

    monkeypatch.setattr(doctor, "codecs", broken)

    findings = list(doctor.examine())

    assert Finding(
        "Video", "this section", "breaks off: OSError: libav is not the one it was", "missing", "Put this right first."
    ) in findings  # fmt: skip
    assert {finding.section for finding in findings} >= {"Installed", "Machine", "Models", "ComfyUI"}


def test_nothing_goes_over_the_network_unless_a_server_is_named(here, monkeypatch):
    import socket

    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    assert all(finding.status != "missing" for finding in doctor.examine())


# What is installed


def test_the_requirements_are_the_packs_own_and_without_its_extras():
    names = dict(doctor.requirements())

    assert names["torch"] == "2.4"
    assert "pytest" not in names


def test_a_pack_that_pip_does_not_know_is_judged_by_its_requirements_file(here, monkeypatch):
    known = dict(doctor.requirements())

    def unknown(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", unknown)

    assert dict(doctor.requirements()) == known


@pytest.fixture
def versions(monkeypatch):
    """Other versions of what is installed; None is not there."""
    changed: dict[str, str | None] = {}
    real = metadata.version

    def version(name):
        if name in changed:
            if changed[name] is None:
                raise metadata.PackageNotFoundError(name)
            return changed[name]
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    return changed


def test_a_library_that_is_too_old_is_told_with_what_to_do(here, versions):
    versions["av"] = "13.1.0"

    assert found("Installed")["av"] == Finding(
        "Installed", "av", "13.1.0, older than 14.2.0", "missing", 'pip install --upgrade "av>=14.2.0"'
    )


@pytest.mark.parametrize("version", ["14.2", "14.2.0", "14.2.0rc1", "14.2.1+local", "100.0"])
def test_a_library_that_is_new_enough_is_fine(here, versions, version):
    versions["av"] = version

    assert found("Installed")["av"].status == "ok"


def test_a_library_that_is_not_there_is_told_with_what_to_do(here, versions):
    versions["aiohttp"] = None

    assert found("Installed")["aiohttp"] == Finding(
        "Installed", "aiohttp", "not installed", "missing", 'pip install "aiohttp>=3.9"'
    )


def test_any_distribution_of_opencv_will_do(here, versions):
    versions.update({"opencv-python-headless": None, "opencv-contrib-python": "4.10.0.84"})

    assert found("Installed")["opencv-contrib-python"].status == "ok"


def test_a_library_that_is_there_but_broken_is_told(here, monkeypatch):
    real = importlib.import_module

    def import_module(name, *more):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", import_module)

    finding = found("Installed")["opencv-python-headless"]
    assert finding.status == "missing"
    assert "cannot be imported: ImportError: libGL.so.1" in finding.found
    assert finding.advice == "Install it again: pip install --force-reinstall opencv-python-headless"


def test_a_python_that_is_too_old_is_told(here, monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.9.18")

    assert found("Installed")["Python"].found == "3.9.18, older than 3.10"
    assert found("Installed")["Python"].status == "missing"


# Video


def test_the_codecs_are_those_that_the_pack_writes(here):
    findings = found("Video")

    assert {"h264", "aac", "vp9", "av1", "opus"} < set(findings)
    assert findings["h264"].status == "ok"


@pytest.mark.parametrize(
    "lacking, name, status, told",
    [
        ({("h264", "w")}, "h264", "missing", "not written"),
        ({("aac", "r")}, "aac", "missing", "not read"),
        ({("libsvtav1", "w")}, "av1", "note", "not written"),
        ({("vp9", "r"), ("libvpx-vp9", "w")}, "vp9", "note", "neither read nor written"),
    ],
)
def test_a_codec_that_ffmpeg_lacks_is_told(here, monkeypatch, lacking, name, status, told):
    real = doctor._ffmpeg_codec
    monkeypatch.setattr(
        doctor, "_ffmpeg_codec", lambda codec, mode: None if (codec, mode) in lacking else real(codec, mode)
    )

    finding = found("Video")[name]

    assert (finding.found, finding.status) == (told, status)


def test_a_codec_that_ffmpeg_never_had_is_not_found():
    assert doctor._ffmpeg_codec("no such codec", "w") is None


# The machine


def test_a_disk_that_is_nearly_full_is_noted(here, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(10**12, 10**12, 100 * 2**20))

    finding = found("Machine", output=here / "not" / "yet" / "there")["disk"]

    assert finding.found.startswith("100 MB free for")
    assert finding.status == "note"


def test_graphics_cards_are_told_with_their_memory(here, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Card {index}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (20 * 2**30, 24 * 2**30))

    findings = found("Machine")

    assert findings["cuda:1"].found == "Card 1, 20.0 GB free of 24.0 GB"
    assert "device" not in findings


# Models


def test_models_are_told_by_folder_with_their_sizes(here):
    models = here / "models"
    for name, size in [("checkpoints/svd/svd_xt.safetensors", 3 * 2**20), ("loras/moon.safetensors", 2048)]:
        (models / name).parent.mkdir(parents=True)
        (models / name).write_bytes(bytes(size))
    (models / "loras" / "put_loras_here").write_text("")
    diffusers = models / "diffusers" / "svd"
    (diffusers / "unet").mkdir(parents=True)
    (diffusers / "model_index.json").write_text("{}")
    (diffusers / "unet" / "diffusion.safetensors").write_bytes(bytes(1022))

    findings = found("Models")

    assert findings["checkpoints"].found == "svd/svd_xt.safetensors (3 MB)"
    assert findings["loras"].found == "moon.safetensors (2 KB)"
    assert findings["diffusers"].found == "svd (1 KB)"


def test_links_that_lead_round_in_a_circle_do_not_hang(here):
    (here / "models" / "loras").mkdir(parents=True)
    (here / "models" / "loras" / "again").symlink_to(here / "models")

    assert "none in" in found("Models")["your models"].found


def test_checkpoints_of_svd_are_told_for_what_they_are(here, tiny_checkpoint):
    checkpoints = here / "models" / "checkpoints"
    (checkpoints / "video").mkdir(parents=True)
    shutil.copy(tiny_checkpoint("svd"), checkpoints / "video" / "svd_xt.safetensors")
    shutil.copy(tiny_checkpoint("sv3d_p"), checkpoints / "sv3d_p.safetensors")
    (checkpoints / "sv3d_u.safetensors").write_text("<!DOCTYPE html><html>")
    (checkpoints / "anime.safetensors").write_text("<!DOCTYPE html><html>")

    told = [finding for finding in doctor.models_found(here / "models") if finding.name == "SVD"]

    assert [finding.found for finding in told] == [
        "checkpoints/sv3d_p.safetensors: sv3d_p, 21 frames, image decoder, float16",
        "sv3d_u.safetensors cannot be used",
        "checkpoints/video/svd_xt.safetensors: svd_xt, 25 frames, temporal decoder, float16",
    ]
    assert "web page" in told[1].advice


def test_where_there_is_no_checkpoint_of_svd_it_is_told_where_to_get_one(here):
    (here / "models" / "checkpoints").mkdir(parents=True)

    finding = found("Models")["SVD"]

    assert finding.status == "note"
    assert "huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt" in finding.advice


def test_a_models_folder_that_is_not_there_is_noted(here):
    finding = found("Models", models=Path("elsewhere"))["your models"]

    assert (finding.found, finding.status) == ("elsewhere does not exist", "note")


def test_without_a_folder_of_models_too_it_is_told_where_they_come_from(here):
    finding = found("Models", models=Path("elsewhere"))["SVD"]

    assert (finding.found, finding.status) == ("no checkpoint of SVD or SV3D", "note")
    assert "svd_xt.safetensors (9.56 GB) comes from https://huggingface.co/" in finding.advice


def test_the_built_in_models_are_those_that_are_there(here, monkeypatch):
    builtin = here / "pack" / "models" / "builtin"
    builtin.mkdir(parents=True)
    monkeypatch.setattr(doctor, "PACK", here / "pack")
    assert found("Models")["built in"].found == f"none in {builtin}"

    (builtin / "svd.safetensors").write_bytes(bytes(4096))
    assert found("Models")["built in"].found == "svd.safetensors (4 KB)"


# ComfyUI


@pytest.fixture
def checkout(here, monkeypatch):
    folder = here / "ComfyUI"
    (folder / "custom_nodes").mkdir(parents=True)
    (folder / "main.py").write_text("")
    (folder / "comfyui_version.py").write_text('# made by a tool\n__version__ = "0.33.0"\n')
    monkeypatch.setenv("COMFYUI_PATH", str(folder))
    return folder


def test_the_comfyui_that_was_named_is_told_with_its_version(checkout):
    findings = found("ComfyUI")

    assert findings["version"] == Finding("ComfyUI", "version", "0.33.0")
    assert findings["this pack"].status == "note"


def test_the_pack_is_found_among_the_custom_nodes(checkout):
    (checkout / "custom_nodes" / "Zoe").symlink_to(doctor.PACK, target_is_directory=True)

    assert found("ComfyUI")["this pack"].found == "in custom_nodes as Zoe"


def test_the_comfyui_around_the_pack_is_found(checkout, monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH")
    pack = checkout / "custom_nodes" / "ComfyUI-Zoetrope"
    pack.mkdir()
    monkeypatch.setattr(doctor, "PACK", pack)

    findings = {finding.name: finding for finding in doctor.comfyui_nearby(None)}

    assert findings["folder"].found == str(checkout)
    assert findings["this pack"].found == "in custom_nodes as ComfyUI-Zoetrope"


@pytest.mark.parametrize("version, status", [("0.19.9", "missing"), ("0.20", "ok"), ("0.20.1", "ok"), ("1.0", "ok")])
def test_a_comfyui_that_is_too_old_is_told(checkout, version, status):
    (checkout / "comfyui_version.py").write_text(f'__version__ = "{version}"')

    assert found("ComfyUI")["version"].status == status


def test_a_folder_that_is_no_comfyui_is_told(here, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(here))

    assert found("ComfyUI")["folder"] == Finding(
        "ComfyUI", "folder", f"{here} holds no ComfyUI", "missing",
        "Set COMFYUI_PATH to the folder that holds ComfyUI's main.py.",
    )  # fmt: skip


# A server


def test_a_server_without_our_nodes_is_told_which(here):
    with FakeComfy() as comfy:
        findings = found("Server", server=comfy.url)

    assert findings["version"].found == "0.33.0"
    assert findings["runs on"].found == "cpu; Python 3.12.3, PyTorch 2.8.0+cpu"
    assert findings["our nodes"].status == "missing"
    assert "ZoetropeSaveGif" in findings["our nodes"].found


def test_a_server_with_our_nodes_is_fine(here, monkeypatch):
    for node in NODES:
        monkeypatch.setitem(DEFINITIONS, node.GET_SCHEMA().node_id, {})

    with FakeComfy() as comfy:
        findings = found("Server", server=comfy.url)

    assert findings["our nodes"] == Finding("Server", "our nodes", f"all {len(NODES)}")
    assert all(finding.status == "ok" for finding in findings.values())


def test_a_server_that_is_not_there_is_told(here):
    finding = found("Server", server="127.0.0.1:1")["127.0.0.1:1"]

    assert finding.status == "missing"
    assert finding.advice == "http://127.0.0.1:1 cannot be reached: connection refused. Is ComfyUI running there?"
