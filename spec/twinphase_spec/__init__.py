"""The one definition of units, formats, frames, records, registers, rules and lab files of Twinphase."""
