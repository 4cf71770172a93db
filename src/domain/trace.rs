//! Traces: what clients really asked of a model, call by call, to be played again.
//!
//! The format is that of the Azure Public Dataset: `TIMESTAMP,ContextTokens,GeneratedTokens`, one call a line.

use super::prices::MAX_COUNT;

/// The columns that are read, by name; any others are passed over.
const COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

/// One call of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TracedCall {
    /// Microseconds after the trace's first call; never negative.
    pub offset_micros: i64,
    /// Input tokens, 0 to [`MAX_COUNT`].
    pub input_tokens: i64,
    /// Output tokens, 0 to [`MAX_COUNT`].
    pub output_tokens: i64,
}

/// A line that is not a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokenLine {
    /// Counted from 1; the header is line 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// What a trace holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trace {
    /// The calls in the order of their time; calls of the same time keep the file's order.
    pub calls: Vec<TracedCall>,
    /// The lines that could not be read, in the file's order.
    pub broken: Vec<BrokenLine>,
}

/// The file is not a trace at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TraceError {
    /// There is not even a header.
    #[error("the trace is empty; its first line must name the columns {}", COLUMNS.join(","))]
    Empty,
    /// The header lacks a column.
    #[error("line 1: the header `{header}` has no column `{column}`")]
    MissingColumn {
        /// The column.
        column: &'static str,
        /// The header as it stands.
        header: String,
    },
    /// The header names a column twice, so that nobody can tell which one counts.
    #[error("line 1: the header `{header}` names the column `{column}` twice")]
    DoubleColumn {
        /// The column.
        column: &'static str,
        /// The header as it stands.
        header: String,
    },
}

/// Reads a trace. Lines that make no sense are listed and the rest is kept.
///
/// # Errors
/// When the file is empty or its header lacks a column.
pub fn parse(text: &[u8]) -> Result<Trace, TraceError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // Line by line rather than as one CSV text: no field of a trace spans lines, and so a stray quote spoils its own
    // line instead of swallowing the rest of the file.
    let mut lines = text.split(|byte| *byte == b'\n').zip(1..);
    let header = lines.next().map(|(line, _)| fields(line)).unwrap_or_default();
    let places = places(&header)?;

    let (mut calls, mut broken) = (Vec::new(), Vec::new());
    for (bytes, line) in lines.filter(|(bytes, _)| !bytes.trim_ascii().is_empty()) {
        match call(&fields(bytes), places) {
            Ok(call) => calls.push(call),
            Err(problem) => broken.push(BrokenLine { line, problem }),
        }
    }
    calls.sort_by_key(|call| call.offset_micros);
    let first = calls.first().map_or(0, |call| call.offset_micros);
    for call in &mut calls {
        call.offset_micros -= first;
    }
    Ok(Trace { calls, broken })
}

/// The fields of one line, without quotes and surrounding blanks.
fn fields(line: &[u8]) -> Vec<String> {
    let text = |field: &[u8]| String::from_utf8_lossy(field.trim_ascii()).into_owned();
    // A CSV reader costs more to build than a line takes to split, and hardly any line has a quote.
    if !line.contains(&b'"') {
        return if line.trim_ascii().is_empty() {
            Vec::new()
        } else {
            line.split(|byte| *byte == b',').map(text).collect()
        };
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(line);
    // Reading one record from memory cannot fail.
    let record = reader.byte_records().next().and_then(Result::ok).unwrap_or_default();
    record.iter().map(text).collect()
}

/// Where each of [`COLUMNS`] stands in the header, whatever its case.
fn places(header: &[String]) -> Result<[usize; COLUMNS.len()], TraceError> {
    if header.is_empty() {
        return Err(TraceError::Empty);
    }
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        let mut found = (0..header.len()).filter(|i| header[*i].eq_ignore_ascii_case(column));
        let header = || header.join(",");
        *place = found.next().ok_or_else(|| TraceError::MissingColumn { column, header: header() })?;
        if found.next().is_some() {
            return Err(TraceError::DoubleColumn { column, header: header() });
        }
    }
    Ok(places)
}

/// Reads one call; its offset is still counted from 1970.
fn call(fields: &[String], places: [usize; COLUMNS.len()]) -> Result<TracedCall, String> {
    let field = |column: usize| {
        let text = fields.get(places[column]).map(String::as_str).unwrap_or_default();
        if text.is_empty() { Err(format!("{} is missing", COLUMNS[column])) } else { Ok(text) }
    };
    let count = |column: usize| {
        let text = field(column)?;
        text.parse::<i64>().ok().filter(|count| (0..=MAX_COUNT).contains(count)).ok_or_else(|| {
            format!("{} is `{text}`, which is not a whole number from 0 to {MAX_COUNT}", COLUMNS[column])
        })
    };
    let text = field(0)?;
    let offset_micros = micros(text).ok_or_else(|| format!("TIMESTAMP is `{text}`, which is not a time"))?;
    Ok(TracedCall { offset_micros, input_tokens: count(1)?, output_tokens: count(2)? })
}

/// Microseconds since 1970 of a time like `2023-11-16 18:15:46.6805900`. Without an offset it is taken as UTC.
fn micros(text: &str) -> Option<i64> {
    let with_offset = || text.parse::<jiff::Timestamp>().ok();
    let civil = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    with_offset().or_else(|| civil().map(|zoned| zoned.timestamp())).map(jiff::Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
    const SAMPLE: &[u8] = include_bytes!("../../deploy/sample/trace.csv");

    fn of(lines: &str) -> Trace {
        parse(format!("{HEADER}{lines}").as_bytes()).expect("a trace")
    }

    fn problems(trace: &Trace) -> Vec<(usize, &str)> {
        trace.broken.iter().map(|broken| (broken.line, broken.problem.as_str())).collect()
    }

    #[test]
    fn the_sample_is_read_whole_and_starts_at_zero() {
        let trace = parse(SAMPLE).expect("a trace");
        assert_eq!((trace.calls.len(), trace.broken.len()), (300, 0));
        assert_eq!(trace.calls[0], TracedCall { offset_micros: 0, input_tokens: 374, output_tokens: 44 });
        assert_eq!(trace.calls[1].offset_micros, 4_314_579);
        assert!(trace.calls.is_sorted_by_key(|call| call.offset_micros));
    }

    #[test]
    fn a_broken_line_is_named_by_its_number_and_the_others_are_kept() {
        let trace = of("2023-11-16 18:15:46,1,2\n\
             yesterday,1,2\n\
             \n\
             2023-11-16 18:15:47,-1,2\n\
             2023-11-16 18:15:47,1,9000000000000\n\
             2023-11-16 18:15:47,1\n\
             2023-11-16 18:15:47,1.5,\"2\n\
             2023-11-16 18:15:48,3,4");
        assert_eq!(trace.calls.len(), 2);
        assert_eq!(trace.calls[1], TracedCall { offset_micros: 2_000_000, input_tokens: 3, output_tokens: 4 });
        let whole = "which is not a whole number from 0 to 1000000000000";
        assert_eq!(
            problems(&trace),
            [
                (3, "TIMESTAMP is `yesterday`, which is not a time"),
                (5, &*format!("ContextTokens is `-1`, {whole}")),
                (6, &*format!("GeneratedTokens is `9000000000000`, {whole}")),
                (7, "GeneratedTokens is missing"),
                (8, &*format!("ContextTokens is `1.5`, {whole}")),
            ]
        );
    }

    #[test]
    fn columns_are_found_by_name_wherever_they_stand() {
        let text = "\u{feff}\"note\",generatedtokens, ContextTokens ,TIMESTAMP\r\n\
            \"a, \"\"b\"\"\",44,\"374\",2023-11-16T18:15:46.68+01:00\r\n";
        let trace = parse(text.as_bytes()).expect("a trace");
        assert_eq!(trace.calls, [TracedCall { offset_micros: 0, input_tokens: 374, output_tokens: 44 }]);
    }

    #[test]
    fn a_header_that_is_missing_or_unclear_is_an_error_that_names_the_column() {
        assert_eq!(parse(b""), Err(TraceError::Empty));
        assert_eq!(parse(b"\n"), Err(TraceError::Empty));
        let error = |text: &[u8]| parse(text).expect_err("no trace").to_string();
        assert_eq!(
            error(b"TIMESTAMP,GeneratedTokens\n1,2\n"),
            "line 1: the header `TIMESTAMP,GeneratedTokens` has no column `ContextTokens`"
        );
        assert!(error(b"TIMESTAMP,ContextTokens,GeneratedTokens,TIMESTAMP").contains("`TIMESTAMP` twice"));
    }

    #[test]
    fn calls_out_of_order_are_put_in_order_and_equals_stay_as_they_were() {
        let trace = of("2023-11-16 18:00:02,1,0\n2023-11-16 18:00:01,2,0\n2023-11-16 18:00:02,3,0\n");
        let order: Vec<_> = trace.calls.iter().map(|call| (call.offset_micros, call.input_tokens)).collect();
        assert_eq!(order, [(0, 2), (1_000_000, 1), (1_000_000, 3)]);
    }

    #[test]
    fn bytes_that_are_not_text_spoil_only_their_line() {
        let mut text = HEADER.as_bytes().to_vec();
        text.extend(b"\xff\xfe,1,2\n2023-11-16 18:00:02,1,0\n");
        let trace = parse(&text).expect("a trace");
        assert_eq!((trace.calls.len(), trace.broken[0].line), (1, 2));
    }
}
