"""What can be wrong with input, in words a sender can act on. No message holds a value."""

from __future__ import annotations

from dataclasses import dataclass

from caseness.errors import CasenessError

NOT_CONTRACTED = "not_contracted"
REMEDIES = {
    "required": "fill the column or leave the row out",
    "integer": "write a whole number without leading zeros, sign or spaces",
    "decimal": "write a number with a point and no exponent",
    "date": "write a real date as YYYY-MM-DD",
    "partial_date": "write the whole day as YYYY-MM-DD, or leave the field out; a year or a month is no day",
    "timestamp": "write YYYY-MM-DDTHH:MM:SS with an offset such as +00:00 or Z",
    "timestamp_offset": "add the offset to the time, or state time_zone in delivery.yml",
    "range": "check the unit and the value against the contract's bounds",
    "unknown_code": "use one of the contract's codes, or ask for the code to be added",
    "pattern": "write the code in the contract's form",
    "boolean": "write true or false",
    "time_zone": "write an IANA time zone such as Europe/London",
    "code_length": "codes are 1 to 128 characters without control characters",
    "before_programme_start": "check the date; it lies before the programme began and may be a birth date",
    "not_contracted": "nothing to do: the record lies outside the contract and was not read",
    "invalid_record": "send one valid JSON object of the declared shape per record",
    "answer_consistency": "an answered item has a value, an item in any other state has none",
    "answer_kind_unstated": "state scored_value or answer_position: the instrument has reversed items",
    "items_not_defined": "send the total: the items of this instrument are not defined here",
    "total_not_defined": "send the answers: this instrument has no total, only scales or levels",
    "code_form": "state the code's system and write the code in its form, check digit and dot included",
    "code_not_in_value_set": "load the value set it belongs to (`caseness valuesets load`) and ingest the file again; "
    "codes of this system are admitted as members only",
    "random_code": "under safe_harbor send your own random code: 32 to 64 hexadecimal digits, or a UUID of version 4",
    "days_from_index": "write whole days from the person's index day, such as 0, 14 or -30",
    "year": "write a year with four digits",
    "oldest_age": "nothing to do: a birth year that gives an age over 89 is not kept under safe_harbor",
    "shift_without_person": "state the person: while dates are shifted, a record of nobody cannot stand beside others",
    "erased_person": "nothing to do: the person was removed from this warehouse and stays out",
    "value_missing": "send the value; a question without its answer is not a zero",
    "error_cell": "put a value in the cell; it holds a spreadsheet error or a duration",
    "answer_form": "send the answer as a code of its answer list or as a plain number, never as text",
    "answer_repeated": "send one answer per item of a response",
    "not_a_day": "state the day or the time; an age, a range or a text is no day",
    "reference_unresolved": "refer to a record by its id, and send what the record depends on in the same file",
    "superseded_version": "nothing to do: a later version of the same record stands in the same bundle",
    "link_to_itself": "a link joins two different codes",
}


@dataclass(frozen=True)
class Problem:
    """Why a file was refused: where and what to do."""

    file: str
    rule: str
    message: str
    remedy: str
    row: int | None = None
    column: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The problem as JSON-ready facts."""
        return {key: value for key, value in vars(self).items() if value is not None}


class RefusedFile(CasenessError):
    """A file that cannot be read as what it says it is; none of it is loaded."""

    exit_code = 3

    def __init__(
        self, rule: str, message: str, *, remedy: str, row: int | None = None, column: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.rule = rule
        self.row = row
        self.column = column

    def problem(self, file: str) -> Problem:
        """The refusal as a row of the report."""
        return Problem(
            file=file, rule=self.rule, message=self.message, remedy=self.remedy, row=self.row, column=self.column
        )
