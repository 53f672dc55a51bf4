"""Every page, run as Streamlit runs it, without a browser."""

import io
import re
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the page needs the extra 'app'")

import numpy as np
import streamlit as st
from streamlit.testing.v1 import AppTest

from hematovision import images
from hematovision.app.views.classify import synthetic_samples
from hematovision.review.store import ReviewStore


def draw(name: str) -> None:
    """Show a page; AppTest takes the source of this function, hence the import inside."""
    from importlib import import_module

    import_module(f"hematovision.app.views.{name}").show()


@pytest.fixture(autouse=True)
def fresh(home: Path):
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def page(name: str, who: str = "Ana") -> AppTest:
    at = AppTest.from_function(draw, args=(name,), default_timeout=120)
    at.session_state["who"] = who
    return ok(at.run())


def ok(at: AppTest) -> AppTest:
    assert not at.exception, [e.message for e in at.exception]
    return at


def texts(at: AppTest) -> str:
    parts = [*at.markdown, *at.caption, *at.info, *at.success, *at.error, *at.html]
    return "\n".join(str(part.value) for part in parts)


def click(at: AppTest, label: str) -> AppTest:
    (button,) = [button for button in at.button if button.label == label]
    return ok(button.click().run())


def upload(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    at.file_uploader[0].set_value([(name, content, "") for name, content in files])
    return ok(at.run())


def unreadable(at: AppTest) -> dict[str, str]:
    (listed,) = [part.value for part in at.html if "hv-unreadable" in part.value]
    return dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", listed))


def noise(seed: int = 0) -> bytes:
    """An image unlike all training images."""
    pixels = np.random.default_rng(seed).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    return images.encode_png(pixels)


def metrics(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


@pytest.fixture
def store(fresh: None) -> ReviewStore:
    return ReviewStore.open()


def test_a_new_user_sees_instructions_and_can_try_synthetic_cells():
    at = page("classify")
    assert "distinguishes RBC, WBC and Platelets (nucleated red cells count as RBC)" in texts(at)
    at = click(at, "Try it with synthetic cells")
    found = metrics(at)
    names = [name for name, _ in synthetic_samples()]
    assert int(found["Images"]) == int(found["Accepted"]) + int(found["For review"]) == len(names)
    assert any(name in texts(at) for name in names)


def test_uploads_are_classified_and_unreadable_ones_listed(
    store: ReviewStore,
):
    cells = synthetic_samples()[:3]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("more/cell.png", synthetic_samples()[4][1])
        archive.writestr("../../evil.png", cells[0][1])
    at = upload(
        page("classify"),
        *cells,
        ("page.png", b"<html><script>alert(1)</script></html>"),
        ("cells.zip", packed.getvalue()),
    )
    assert metrics(at)["Images"] == "6"
    assert metrics(at)["Not read"] == "2"
    refused = unreadable(at)
    assert set(refused) == {"page.png", "evil.png"}
    assert min(map(len, refused.values())) > 20
    assert "begins with &quot;&lt;html&gt;&lt;s&quot;" in refused["page.png"]
    (batch,) = store.batches()
    assert batch.n == 4


def test_the_heat_map_is_another_image():
    at = click(page("classify"), "Try it with synthetic cells")
    plain = [image.value[0] for image in at.image]
    at = ok(at.toggle(key="heat").set_value(True).run())
    heat = [image.value[0] for image in at.image]
    assert len(plain) == len(heat) == 12
    assert not set(plain) & set(heat)


def test_images_can_be_filtered_by_class():
    at = click(page("classify"), "Try it with synthetic cells")
    at = ok(at.multiselect(key="filter-classes").set_value(["Platelets"]).run())
    shown = [html.value for html in at.html if "hv-prediction" in html.value]
    assert shown
    assert all(re.search('hv-label">(Platelets|Not recognised)<', html) for html in shown)


def test_the_table_has_the_columns_of_classify_and_can_be_filtered():
    at = click(page("classify"), "Try it with synthetic cells")
    table = at.dataframe[-1].value
    assert list(table.columns) == [
        *("path", "label", "confidence", "decision", "reason", "novelty"),
        *("p_RBC", "p_WBC", "p_Platelets", "sha256"),
    ]
    assert len(table) == len(synthetic_samples())
    at = ok(at.text_input(key="filter-name").input("platelet").run())
    assert at.dataframe[-1].value["path"].str.contains("platelet").all()
    assert 0 < len(at.dataframe[-1].value) < len(table)


@pytest.fixture
def waiting(store: ReviewStore) -> ReviewStore:
    at = click(page("classify"), "Try it with synthetic cells")
    (send,) = [button for button in at.button if button.label.startswith("Also review the ")]
    ok(send.click().run())
    return store


def test_a_reviewer_has_to_enter_a_name_that_is_not_a_login():
    at = page("review", who="")
    assert "not a login" in texts(at)
    at.text_input[0].input("Ana")
    at = click(at, "Start")
    assert "The queue is empty" in texts(at)


def test_keys_decide_and_move_to_the_next_cell_and_undo_returns(waiting: ReviewStore):
    at = page("review")
    n = len(synthetic_samples())
    assert f"{n} in the queue · reviewing as Ana" in texts(at)
    first = at.session_state["review-page"].active
    at = ok(at.button(key="decide-WBC").click().run())
    second = at.session_state["review-page"].active
    assert second != first
    at = ok(at.button(key="unusable").click().run())
    assert [(d.prediction_id, d.kind, d.after) for d in waiting.recent("Ana")] == [
        (second, "unusable", None),
        (first, "class", "WBC"),
    ]
    assert f"{n - 2} in the queue" in texts(at)
    at = ok(at.button(key="undo").click().run())
    assert at.session_state["review-page"].active == second
    assert waiting.recent("Ana")[0].kind == "undo"
    at = ok(at.button(key="skip").click().run())
    assert at.session_state["review-page"].active not in {first, second}


def test_a_cell_can_be_selected_and_explained(waiting: ReviewStore):
    at = page("review")
    third = at.session_state["review-page"].cells[2].prediction.id
    at = ok(at.button(key=f"choose-{third}").click().run())
    assert at.session_state["review-page"].active == third
    plain = [image.value[0] for image in at.image]
    at = ok(at.toggle(key="review-heat").set_value(True).run())
    assert not {image.value[0] for image in at.image} & set(plain)


def test_a_cell_that_somebody_else_has_decided_is_skipped(waiting: ReviewStore):
    at = page("review", "Ana")
    first = at.session_state["review-page"].active
    waiting.release("Ana")
    (model,) = waiting.models()
    waiting.claim("Ben", model.sha256, n=50)
    waiting.decide(first, "Ben", "RBC")
    at = ok(at.button(key="decide-WBC").click().run())
    assert at.toast
    assert at.session_state["review-page"].active != first
    assert [decision.reviewer for decision in waiting.history(first)] == ["Ben"]


def test_after_all_cells_the_queue_is_empty(waiting: ReviewStore):
    at = page("review")
    n = len(synthetic_samples())
    for _ in range(n):
        at = ok(at.button(key="agree").click().run())
    assert "The queue is empty" in texts(at)
    (model,) = waiting.models()
    found = waiting.agreement(model.sha256)
    assert found.matrix.trace() == found.matrix.sum() == n
    at = page("review")
    assert f"{n} of {n}" in texts(at)
    at = click(at, "Undo my last decision")
    assert "1 in the queue · reviewing as Ana" in texts(at)


def test_two_people_do_not_see_the_same_cells(waiting: ReviewStore):
    one, other = page("review", "Ana"), page("review", "Ben")
    seen = [
        {cell.prediction.id for cell in at.session_state["review-page"].cells}
        for at in (one, other)
    ]
    assert seen[0]
    assert not seen[0] & seen[1]


def test_reviewed_cells_become_a_dataset(waiting: ReviewStore, home: Path):
    at = page("review")
    for _ in range(3):
        at = ok(at.button(key="agree").click().run())
    at = click(page("train"), "Make a dataset")
    (folder,) = (home / "exports").iterdir()
    assert len(list(folder.rglob("*.png"))) == 3
    assert "3 cells in" in texts(at)


def test_two_models_are_compared_on_reviewed_cells(waiting: ReviewStore):
    at = page("review")
    for _ in range(8):
        at = ok(at.button(key="agree").click().run())
    click(page("train"), "Make a dataset")
    at = click(page("models"), "Compare")
    table = at.dataframe[0].value
    assert list(table.columns) == ["", "rbc-wbc-platelets", "pbc8", "difference"]
    assert table.loc[table[""] == "accuracy", "rbc-wbc-platelets"].item() == 1.0
    assert "On 8 cells" in texts(at)


def test_models_show_metrics_and_card_of_each():
    at = page("models")
    assert float(metrics(at)["Balanced accuracy"].rstrip("%")) > 90
    assert "not for diagnosis" in texts(at).lower() or "diagnos" in texts(at).lower()
    at = ok(at.selectbox(key="models-model").set_value("pbc8").run())
    at = click(at, "Use this model")
    assert "in use on all pages" in texts(at)
    assert page("classify").selectbox(key="classify-model").value == "pbc8"


def test_records_show_what_is_stored_and_where_and_are_deleted(waiting: ReviewStore, home: Path):
    at = page("records")
    assert str(home) in texts(at)
    at.radio[0].set_value("none")
    at = click(at, "Save")
    assert waiting.retention().images == "none"
    at = click(at, "Delete")
    assert any("Tick the box" in warning.value for warning in at.warning)
    at.checkbox[-1].check()
    at = click(at, "Delete")
    assert waiting.batches() == []
    trace = waiting.deletions()[0]
    assert (trace.by, trace.predictions) == ("Ana", len(synthetic_samples()))
    assert "Ana" in list(at.dataframe[-1].value["by"])


def test_an_image_is_deleted_by_itself(store: ReviewStore):
    name, content = synthetic_samples()[0]
    upload(page("classify"), (name, content), synthetic_samples()[1])
    at = page("records")
    at = ok(at.segmented_control[0].set_value("an image").run())
    at.file_uploader[0].set_value((name, content, "image/png"))
    at.checkbox[-1].check()
    click(at, "Delete")
    (batch,) = store.batches()
    assert batch.n == 1
    assert store.deletions()[0].predictions == 1


def test_uploads_are_limited_to_the_allowed_number_of_images(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEMATOVISION_MAX_IMAGES", "2")
    at = upload(page("classify"), *synthetic_samples()[:4])
    assert metrics(at)["Not read"] == "2"
    assert all("at most 2 files" in reason for reason in unreadable(at).values())
    assert "<code>hematovision classify</code>" in next(iter(unreadable(at).values()))


def test_an_expected_error_is_a_message_without_a_stack_trace(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    home.mkdir(parents=True)
    monkeypatch.setenv("HEMATOVISION_DATABASE_URL", "postgresql+psycopg://u:secret@127.0.0.1:1/x")
    main = Path(__file__).parents[2] / "src" / "hematovision" / "app" / "main.py"
    at = AppTest.from_file(str(main), default_timeout=60).run()
    assert not at.exception
    assert at.error
    assert "secret" not in at.error[0].value


def test_an_image_unlike_the_training_images_is_not_called_a_cell():
    at = upload(page("classify"), ("noise.png", noise()))
    (card,) = [part.value for part in at.html if "hv-prediction" in part.value]
    assert 'hv-label">Not recognised<' in card
    assert "unlike the training images" in card
    assert "hv-top" not in card  # no class stands out
    at = page("review")
    assert any('hv-label">Not recognised<' in part.value for part in at.html)
    (shown,) = [m.value for m in at.markdown if "What is the highlighted cell?" in m.value]
    assert re.search(r"Model: \w+ \(\d+%\), flagged: .*unlike the training images$", shown)
    # No class is suggested.
    assert not [b for b in at.button if (b.key or "").startswith("decide") and is_primary(b)]


def is_primary(button: object) -> bool:
    return button.proto.type == "primary"


def test_the_question_names_and_suggests_the_predicted_class(waiting: ReviewStore):
    at = page("review")
    while "unlike" in (shown := question(at)):
        at = ok(at.button(key="unusable").click().run())
    assert re.search(r"Model: (\w+) \(\d+%\), (accepted|flagged: low confidence)$", shown)
    label = re.search(r"Model: (\w+)", shown).group(1)
    assert is_primary(at.button(key=f"decide-{label}"))


def question(at: AppTest) -> str:
    (shown,) = [m.value for m in at.markdown if "What is the highlighted cell?" in m.value]
    return shown


def test_an_image_is_queued_once_and_its_decision_is_shown(store: ReviewStore):
    upload(page("classify"), ("noise.png", noise()))
    at = upload(page("classify"), ("again.png", noise()), ("more.png", noise(1)))
    assert "Not queued for review again: 1 already in the queue." in texts(at)
    assert sum(queue.waiting for queue in store.queues()) == 2
    at = page("review")
    for _ in range(2):
        at = ok(at.button(key="unusable").click().run())
    at = upload(page("classify"), ("third.png", noise()), ("fourth.png", noise(1)))
    assert "Not queued for review again: 2 already decided." in texts(at)
    assert "Decided by Ana: unusable" in texts(at)
    assert store.queues() == []


def test_accepted_cells_that_were_decided_are_not_sent_again(waiting: ReviewStore):
    at = page("review")
    ok(at.button(key="agree").click().run())
    at = click(page("classify"), "Try it with synthetic cells")
    (send,) = [button for button in at.button if button.label.startswith("Also review the ")]
    at = ok(send.click().run())
    assert re.match(r"0 cells added to the review queue\. \d+ are already", at.toast[0].value)
    assert sum(queue.waiting for queue in waiting.queues()) == len(synthetic_samples()) - 1


def whole_app() -> AppTest:
    main = Path(__file__).parents[2] / "src" / "hematovision" / "app" / "main.py"
    return AppTest.from_file(str(main), default_timeout=120)


def footer(at: AppTest) -> str:
    (foot,) = [part.value for part in at.html if 'class="hv-foot"' in part.value]
    return foot


def test_the_footer_names_the_model_of_the_page():
    at = ok(whole_app().run())
    assert "model rbc-wbc-platelets" in footer(at)
    at = ok(at.selectbox(key="classify-model").set_value("pbc8").run())
    assert "model pbc8" in footer(at)
    at = click(at, "Try it with synthetic cells")
    assert "model pbc8" in footer(at)
    at = ok(at.selectbox(key="classify-model").set_value("rbc-wbc-platelets").run())
    assert "model pbc8" in footer(at)  # whose predictions are on the page


def test_deleting_a_batch_that_does_not_exist_leaves_the_page(store: ReviewStore):
    at = page("records")
    at.number_input[-1].set_value(77)
    at.checkbox[-1].check()
    at = click(at, "Delete")
    assert "There is no batch 77" in at.error[0].value
    assert "Deletions" in [heading.value for heading in at.subheader]


@pytest.mark.parametrize("image", ["", "abc", "0" * 64])
def test_deleting_an_image_that_does_not_exist_leaves_the_page(image: str):
    at = page("records")
    at = ok(at.segmented_control[0].set_value("an image").run())
    at.text_input[-1].input(image)
    at.checkbox[-1].check()
    at = click(at, "Delete")
    assert at.error
    assert "Deletions" in [heading.value for heading in at.subheader]


def test_images_of_more_pixels_than_allowed_are_not_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEMATOVISION_MAX_PIXELS", "8000")
    at = upload(page("classify"), ("large.png", noise()), synthetic_samples()[0])
    assert set(unreadable(at)) == {"large.png"} | (
        {synthetic_samples()[0][0]} & set(unreadable(at))
    )
    assert "8,100 pixels" in unreadable(at)["large.png"]


def test_samples_are_called_synthetic_and_always_the_same():
    samples = synthetic_samples()
    assert samples == synthetic_samples()
    assert 12 <= len(samples) <= 24
    assert all(name.startswith("synthetic ") for name, _ in samples)
    kinds = {name.split()[1] for name, _ in samples}
    assert {"rbc", "platelet", "neutrophil", "lymphocyte"} <= kinds


def test_samples_are_whole_cells():
    for _, content in synthetic_samples():
        height, width, _ = images.read(content).shape
        assert height == width >= 20
