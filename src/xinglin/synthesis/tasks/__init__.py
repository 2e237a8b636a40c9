"""What is made of records: text to questions, triples to questions, new tasks, dialogues, better answers, preferences.
One file each.

A task ``NAME.py`` has

    MAKES       the kind of record that it makes
    READS       the kinds of record that it reads from the splits of a data set; (): none, it has records of its own
    class Config(TaskConfig)
                its options, with ``name: Literal["NAME"]``
    items(records: Iterator[Record], config, seed: int) -> Iterator[Item]
                what to make something of, in a fixed order; ``records`` went through the gate
    requests(config) -> Sequence[Expected]
                what it asks for an item that is not rejected; for forecasts
    async make(item: Item, config, ask: Ask) -> Sequence[Record]
                asks, checks, and returns at least one record with the item's origin; raises ``Rejected``
and may have
    own_records(config) -> Iterator[Record]
                with ``READS = ()``: where its items come from
    files(config) -> list[str]
                what ``own_records`` reads, so that a change of it counts
    screen(records: Iterator[Record], config) -> Callable[[Record], str | None]
                looks at every record made, in order: why it is left out, or None; ``records`` are the sources

Its prompts are in ``synthesis/prompts/NAME.yaml``, in Chinese and English: name -> language -> jinja. They ask for
JSON where more than one thing is wanted; a pydantic model says of which form.
"""

PACKAGE = "xinglin.synthesis.tasks"
