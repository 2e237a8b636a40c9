"""A model as a detector: a tiny random one, made here."""

import pickle
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

from xinglin.data.deidentify import Deidentification, Deidentifier
from xinglin.data.records import Document, Origin
from xinglin.errors import ModelError

LETTERS = "我叫张伟住在那里。"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls 张 B-PER, 伟 I-PER, all else O: the classifier reads embeddings; the layers add next to nothing."""
    folder = tmp_path_factory.mktemp("tagger")
    vocabulary = {token: index for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, id2label={0: "O", 1: "B-PER", 2: "I-PER"},
        label2id={"O": 0, "B-PER": 1, "I-PER": 2},
    )  # fmt: skip
    tagger = BertForTokenClassification(config)
    for layer in tagger.bert.encoder.layer:
        for part in (layer.attention.output.dense, layer.output.dense):
            torch.nn.init.zeros_(part.weight)
    embeddings = tagger.bert.embeddings
    for table in (
        embeddings.position_embeddings,
        embeddings.token_type_embeddings,
        embeddings.word_embeddings,
    ):
        torch.nn.init.zeros_(table.weight)
    words = embeddings.word_embeddings.weight.data
    words[:, 3] = 50.0
    for sign, label in (("张", 1), ("伟", 2)):
        words[vocabulary[sign]] = 0
        words[vocabulary[sign], label] = 50.0
    tagger.classifier.weight.data.zero_()
    tagger.classifier.bias.data.copy_(torch.tensor([1.0, 0.0, 0.0]))
    for label in (1, 2):
        tagger.classifier.weight.data[label, label] = 4.0
    tagger.save_pretrained(folder)
    return folder


def config(model: Path, **options: object) -> Deidentification:
    labels = {"PER": "patient_name"}
    return Deidentification.model_validate(
        {"mode": "replace", "model": {"path": str(model), "labels": labels, "max_tokens": 16, **options}}
    )


def text_after(work: Deidentifier, text: str) -> str:
    record = work.apply(Document(text, Origin("a", 1)))
    assert isinstance(record, Document)
    return record.text


def test_names_without_any_sign_are_found(model: Path) -> None:
    assert text_after(Deidentifier(config(model), key=b"k" * 16), "张伟住在那里。") == "<患者姓名>住在那里。"


def test_long_texts_are_read_in_windows(model: Path) -> None:
    text = "住在那里。" * 9 + "张伟" + "住在那里。" * 9
    work = pickle.loads(pickle.dumps(Deidentifier(config(model), key=b"k" * 16)))
    assert text_after(work, text) == text.replace("张伟", "<患者姓名>")


def test_a_threshold_above_certainty_keeps_names(model: Path) -> None:
    assert (
        text_after(Deidentifier(config(model, threshold=1.0), key=b"k" * 16), "我住在那里。")
        == "我住在那里。"
    )


def test_labels_that_the_model_does_not_know(model: Path) -> None:
    work = Deidentifier(config(model, labels={"PERSON": "patient_name"}), key=b"k" * 16)
    with pytest.raises(ModelError, match=r"\['PERSON'\] are not of this model; it has \['O', 'PER'\]"):
        text_after(work, "张伟")


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not load as a token classifier"):
        text_after(Deidentifier(config(tmp_path), key=b"k" * 16), "张伟")
