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
from hematovision.app.samples import synthetic_samples
from hematovision.review.store import ReviewStore


def draw(name: str) -> None:
    """One page; AppTest takes its source, so that it imports for itself."""
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


def refusals(at: AppTest) -> dict[str, str]:
    (listed,) = [part.value for part in at.html if "hv-refusals" in part.value]
    return dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", listed))


def noise(seed: int = 0) -> bytes:
    """An image that no model has seen the like of."""
    pixels = np.random.default_rng(seed).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    return images.encode_png(pixels)


def metrics(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


@pytest.fixture
def store(fresh: None) -> ReviewStore:
    return ReviewStore.open()


def test_a_newcomer_is_told_what_to_do_and_can_try_drawn_cells():
    at = page("classify")
    assert "RBC, WBC and Platelets apart" in texts(at)
    at = click(at, "Try it with synthetic cells")
    found = metrics(at)
    n = len(synthetic_samples())
    assert int(found["Images"]) == n == int(found["Accepted"]) + int(found["For review"])
    assert "drawn rbc 1.png" in texts(at)


def test_uploads_are_answered_and_broken_ones_listed_while_the_rest_goes_on(
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
    refused = refusals(at)
    assert set(refused) == {"page.png", "evil.png"}
    assert min(map(len, refused.values())) > 20
    assert "begins with &quot;&lt;html&gt;&lt;s&quot;" in refused["page.png"]
    (batch,) = store.batches()
    assert batch.n == 4


def test_the_heat_map_is_another_picture():
    at = click(page("classify"), "Try it with synthetic cells")
    plain = [image.value[0] for image in at.image]
    at = ok(at.toggle(key="heat").set_value(True).run())
    heat = [image.value[0] for image in at.image]
    assert len(plain) == len(heat) == 12
    assert not set(plain) & set(heat)


def test_pictures_can_be_narrowed_to_a_class_and_a_decision():
    at = click(page("classify"), "Try it with synthetic cells")
    at = ok(at.multiselect(key="pictures-classes").set_value(["Platelets"]).run())
    shown = [html.value for html in at.html if "hv-answer" in html.value]
    assert shown
    assert all(re.search('hv-label">(Platelets|Not recognised)<', html) for html in shown)


def test_the_table_has_what_classify_writes_and_can_be_narrowed():
    at = click(page("classify"), "Try it with synthetic cells")
    table = at.dataframe[-1].value
    assert list(table.columns) == [
        *("path", "label", "confidence", "decision", "reason", "novelty"),
        *("p_RBC", "p_WBC", "p_Platelets", "sha256"),
    ]
    assert len(table) == len(synthetic_samples())
    at = ok(at.text_input(key="pictures-name").input("platelet").run())
    assert at.dataframe[-1].value["path"].str.contains("platelet").all()
    assert 0 < len(at.dataframe[-1].value) < len(table)


@pytest.fixture
def waiting(store: ReviewStore) -> ReviewStore:
    at = click(page("classify"), "Try it with synthetic cells")
    (send,) = [button for button in at.button if button.label.startswith("Review the ")]
    ok(send.click().run())
    return store


def test_a_reviewer_is_asked_for_a_name_once_and_told_that_it_is_no_login():
    at = page("review", who="")
    assert "no login" in texts(at)
    at.text_input[0].input("Ana")
    at = click(at, "Begin")
    assert "Nothing waits" in texts(at)


def test_keys_decide_and_go_on_and_undo_comes_back(waiting: ReviewStore):
    at = page("review")
    n = len(synthetic_samples())
    assert f"{n} wait · deciding as Ana" in texts(at)
    first = at.session_state["review-page"].active
    at = ok(at.button(key="decide-WBC").click().run())
    second = at.session_state["review-page"].active
    assert second != first
    at = ok(at.button(key="unusable").click().run())
    assert [(d.prediction_id, d.kind, d.after) for d in waiting.recent("Ana")] == [
        (second, "unusable", None),
        (first, "class", "WBC"),
    ]
    assert f"{n - 2} wait" in texts(at)
    at = ok(at.button(key="undo").click().run())
    assert at.session_state["review-page"].active == second
    assert waiting.recent("Ana")[0].kind == "undo"
    at = ok(at.button(key="later").click().run())
    assert at.session_state["review-page"].active not in {first, second}


def test_a_cell_can_be_chosen_and_looked_into(waiting: ReviewStore):
    at = page("review")
    third = at.session_state["review-page"].cells[2].prediction.id
    at = ok(at.button(key=f"choose-{third}").click().run())
    assert at.session_state["review-page"].active == third
    plain = [image.value[0] for image in at.image]
    at = ok(at.toggle(key="review-heat").set_value(True).run())
    assert not {image.value[0] for image in at.image} & set(plain)


def test_a_cell_that_somebody_else_has_decided_meanwhile_is_passed_over(waiting: ReviewStore):
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


def test_all_cells_come_by_and_then_nothing_waits(waiting: ReviewStore):
    at = page("review")
    n = len(synthetic_samples())
    for _ in range(n):
        at = ok(at.button(key="agree").click().run())
    assert "Nothing waits for a person" in texts(at)
    (model,) = waiting.models()
    found = waiting.agreement(model.sha256)
    assert found.matrix.trace() == found.matrix.sum() == n
    at = page("review")
    assert f"{n} of {n}" in texts(at)
    at = click(at, "Undo my last decision")
    assert "1 wait · deciding as Ana" in texts(at)


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
    at = click(page("learn"), "Make a dataset of them")
    (folder,) = (home / "exports").iterdir()
    assert len(list(folder.rglob("*.png"))) == 3
    assert "3 cells in" in texts(at)


def test_two_models_are_compared_on_reviewed_cells(waiting: ReviewStore):
    at = page("review")
    for _ in range(8):
        at = ok(at.button(key="agree").click().run())
    click(page("learn"), "Make a dataset of them")
    at = click(page("models"), "Compare")
    table = at.dataframe[0].value
    assert list(table.columns) == ["", "rbc-wbc-platelets", "pbc8", "difference"]
    assert table.loc[table[""] == "accuracy", "rbc-wbc-platelets"].item() == 1.0
    assert "On 8 cells" in texts(at)


def test_models_show_figures_and_card_of_each():
    at = page("models")
    assert float(metrics(at)["Balanced accuracy"].rstrip("%")) > 90
    assert "not for diagnosis" in texts(at).lower() or "diagnos" in texts(at).lower()
    at = ok(at.selectbox(key="models-model").set_value("pbc8").run())
    at = click(at, "Let this model answer")
    assert "answers on every page" in texts(at)
    assert page("classify").selectbox(key="classify-model").value == "pbc8"


def test_records_say_what_is_kept_and_where_and_forget_on_demand(waiting: ReviewStore, home: Path):
    at = page("records")
    assert str(home) in texts(at)
    at.radio[0].set_value("none")
    at = click(at, "Keep it so")
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


def test_no_more_images_are_taken_than_allowed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEMATOVISION_MAX_IMAGES", "2")
    at = upload(page("classify"), *synthetic_samples()[:4])
    assert metrics(at)["Not read"] == "2"
    assert all("at most 2 files" in reason for reason in refusals(at).values())
    assert "<code>hematovision classify</code>" in next(iter(refusals(at).values()))


def test_an_error_on_purpose_is_a_message_and_no_stack_trace(
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
    (card,) = [part.value for part in at.html if "hv-answer" in part.value]
    assert 'hv-label">Not recognised<' in card
    assert "unlike the training images" in card
    assert "hv-top" not in card  # no class stands out
    at = page("review")
    assert any('hv-label">Not recognised<' in part.value for part in at.html)
    (asked,) = [m.value for m in at.markdown if "What is the highlighted cell?" in m.value]
    assert re.search(r"Model: \w+ \(\d+%\), flagged: .*unlike the training images$", asked)
    # Nothing is suggested.
    assert not [b for b in at.button if (b.key or "").startswith("decide") and is_primary(b)]


def is_primary(button: object) -> bool:
    return button.proto.type == "primary"


def test_what_is_asked_of_a_cell_that_the_model_knows(waiting: ReviewStore):
    at = page("review")
    while "unlike" in (asked := question(at)):
        at = ok(at.button(key="unusable").click().run())
    assert re.search(r"Model: (\w+) \(\d+%\), (accepted|flagged: low confidence)$", asked)
    label = re.search(r"Model: (\w+)", asked).group(1)
    assert is_primary(at.button(key=f"decide-{label}"))


def question(at: AppTest) -> str:
    (asked,) = [m.value for m in at.markdown if "What is the highlighted cell?" in m.value]
    return asked


def test_an_image_asks_a_person_once_and_its_decision_is_shown(store: ReviewStore):
    upload(page("classify"), ("noise.png", noise()))
    at = upload(page("classify"), ("again.png", noise()), ("more.png", noise(1)))
    assert "Of those for review, 1 already in the queue: not queued again." in texts(at)
    assert sum(queue.waiting for queue in store.queues()) == 2
    at = page("review")
    for _ in range(2):
        at = ok(at.button(key="unusable").click().run())
    at = upload(page("classify"), ("third.png", noise()), ("fourth.png", noise(1)))
    assert "Of those for review, 2 already decided by a person: not queued again." in texts(at)
    assert "Already decided by Ana: not usable" in texts(at)
    assert store.queues() == []


def test_accepted_cells_that_were_decided_are_not_sent_again(waiting: ReviewStore):
    at = page("review")
    ok(at.button(key="agree").click().run())
    at = click(page("classify"), "Try it with synthetic cells")
    (send,) = [button for button in at.button if button.label.startswith("Review the ")]
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
    assert "What was deleted" in [heading.value for heading in at.subheader]


@pytest.mark.parametrize("image", ["", "abc", "0" * 64])
def test_deleting_an_image_that_does_not_exist_leaves_the_page(image: str):
    at = page("records")
    at = ok(at.segmented_control[0].set_value("an image").run())
    at.text_input[-1].input(image)
    at.checkbox[-1].check()
    at = click(at, "Delete")
    assert at.error
    assert "What was deleted" in [heading.value for heading in at.subheader]


def test_images_of_more_pixels_than_allowed_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEMATOVISION_MAX_PIXELS", "8000")
    at = upload(page("classify"), ("large.png", noise()), synthetic_samples()[0])
    assert set(refusals(at)) == {"large.png"} | ({synthetic_samples()[0][0]} & set(refusals(at)))
    assert "8,100 pixels" in refusals(at)["large.png"]
