import hashlib
import platform

import affectlens
from affectlens import environment
from affectlens.core.session import model_file
from affectlens.runtime import environment as module


def test_the_environment_names_processor_versions_and_model():
    found = environment()
    assert list(found) == ["processor", "cores", "machine", "python", "affectlens", "model_sha256"]
    assert found["processor"]
    assert found["cores"] >= 1
    assert (found["python"], found["affectlens"]) == (platform.python_version(), affectlens.__version__)
    assert found["model_sha256"] == hashlib.sha256(model_file("bundled").read_bytes()).hexdigest()


def test_a_system_without_a_list_of_processors_still_names_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_CPU_INFO", tmp_path / "nothing")
    monkeypatch.setattr(module.platform, "processor", lambda: "")
    monkeypatch.setattr(module.platform, "machine", lambda: "abacus")
    assert environment()["processor"] == "abacus"
