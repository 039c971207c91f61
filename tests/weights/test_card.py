import hashlib

from affectlens.core.session import model_file


def test_the_card_names_the_file_that_ships():
    model = model_file("bundled").read_bytes()
    card = model_file("bundled").with_name("default.md").read_text(encoding="utf-8")
    assert hashlib.sha256(model).hexdigest() in card
    assert f"{len(model):,} bytes" in card
