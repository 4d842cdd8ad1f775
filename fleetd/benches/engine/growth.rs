//! How the times grow with the cluster: `cargo bench -p fleetd -- growth [kept|full] [MACHINES…]`.
//!
//! Prints tables in Markdown, as `docs/performance.md` has them, and draws each into `docs/growth/`. Quicker and
//! coarser than criterion: a handful of runs, of which the least, the middle and the longest are shown. A flavour goes
//! no further than it is bearable.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bed::Bed;
use crate::case::Case;
use crate::flavour::{Flavour, UNITS_PER_MACHINE};
use crate::leader::Way;
use crate::plot::{self, Line};

/// Numbers of machines, unless others are asked for.
const SIZES: [usize; 6] = [10, 30, 100, 300, 1000, 5000];

/// A flavour stops where a single pass is feared to take longer: each is made some thirty times.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs of each case: at least and at most, and what they may take together once there are enough.
const RUNS: std::ops::RangeInclusive<usize> = 3..=15;
const PATIENCE: Duration = Duration::from_secs(3);

/// Measures all flavours on so many machines each, these ways.
///
/// # Errors
/// A plot that cannot be written.
pub(crate) fn run(ways: &[Way], mut sizes: Vec<usize>) -> Result<()> {
    if sizes.is_empty() {
        sizes.extend(SIZES);
    }
    sizes.sort_unstable();
    for &way in ways {
        let series: Vec<Series> = Flavour::ALL
            .iter()
            .map(|flavour| follow(way, *flavour, &sizes))
            .collect();
        for case in std::iter::once(Case::First).chain(Case::CHANGES) {
            report(way, case, &sizes, &series)?;
        }
    }
    Ok(())
}

/// One flavour, from size to size.
struct Series {
    flavour: Flavour,
    points: Vec<Point>,
}

/// What one case took on so many machines.
struct Point {
    case: Case,
    machines: usize,
    /// In ascending order; never empty.
    times: Vec<Duration>,
    /// How many places were found in each.
    places: usize,
}

impl Point {
    fn measure(bed: &mut Bed, case: Case, machines: usize) -> Self {
        let (began, mut times, mut places) = (Instant::now(), Vec::new(), 0);
        while times.len() < *RUNS.start() || times.len() < *RUNS.end() && began.elapsed() < PATIENCE {
            let (took, found) = bed.time(case);
            times.push(took);
            places = found;
        }
        times.sort_unstable();
        Self {
            case,
            machines,
            times,
            places,
        }
    }

    fn median(&self) -> Duration {
        self.times[self.times.len() / 2]
    }

    /// What is drawn: of a first placement what one unit takes, else the whole.
    fn drawn(&self) -> Duration {
        match self.case {
            Case::First => self.median() / u32::try_from(self.places.max(1)).unwrap_or(u32::MAX),
            _ => self.median(),
        }
    }

    fn words(&self) -> String {
        let (least, longest) = (self.times[0], self.times[self.times.len() - 1]);
        let span = format!(
            "{} ({} to {})",
            words(self.median()),
            words(least),
            words(longest)
        );
        let rate = self.places as f64 / self.median().as_secs_f64();
        match (self.case, self.places) {
            (Case::First, _) => format!("{span}, {rate:.0}/s"),
            (_, 0 | 1) => span,
            (_, places) => format!("{span}, {places} units"),
        }
    }
}

fn follow(way: Way, flavour: Flavour, sizes: &[usize]) -> Series {
    let mut points = Vec::new();
    for (index, &machines) in sizes.iter().enumerate() {
        say(&format!("{way}: {flavour} on {machines} machines"));
        let mut bed = Bed::unplaced(way, flavour, machines);
        points.push(Point::measure(&mut bed, Case::First, machines));
        bed.fill();
        points.extend(Case::CHANGES.map(|case| Point::measure(&mut bed, case, machines)));
        let feared = sizes
            .get(index + 1)
            .and_then(|next| feared(&points, machines, *next));
        if let Some(feared) = feared.filter(|feared| *feared > LIMIT) {
            say(&format!(
                "{way}: {flavour} ends here: a pass might take {}",
                words(feared)
            ));
            break;
        }
    }
    Series { flavour, points }
}

/// How long the slowest case would take on the next number of machines, if each goes on as it grew so far.
fn feared(points: &[Point], machines: usize, next: usize) -> Option<Duration> {
    let at = |case: Case| points.iter().rev().filter(move |point| point.case == case);
    let exponent = |before: &Point, last: &Point| {
        let (by, from) = (last.median().as_secs_f64(), before.median().as_secs_f64());
        (by / from).ln() / (last.machines as f64 / before.machines as f64).ln()
    };
    let next_of = |last: &Point| {
        let before = at(last.case).nth(1);
        // Where nothing is known yet, the square.
        let exponent = before.map_or(2.0, |before| exponent(before, last));
        last.median()
            .mul_f64((next as f64 / machines as f64).powf(exponent))
    };
    points
        .iter()
        .filter(|point| point.machines == machines)
        .map(next_of)
        .max()
}

/// One case of all flavours: a table on stdout, and a plot.
fn report(way: Way, case: Case, sizes: &[usize], series: &[Series]) -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    let about = format!(
        "{way} plan, {}, {UNITS_PER_MACHINE} units a machine, host with {cores} cores",
        case.words()
    );
    let mut out = std::io::stdout().lock();
    let heads: String = sizes.iter().map(|size| format!(" {size} machines |")).collect();
    writeln!(out, "\n{about}: median (least to longest)\n\n| units |{heads}")?;
    writeln!(out, "|---|{}", "---|".repeat(sizes.len()))?;
    let mut lines = Vec::new();
    for Series { flavour, points } in series {
        let of_case: Vec<&Point> = points.iter().filter(|point| point.case == case).collect();
        let cell = |size: &usize| {
            of_case
                .iter()
                .find(|p| p.machines == *size)
                .map_or_else(|| "–".to_owned(), |p| p.words())
        };
        let cells: Vec<String> = sizes.iter().map(cell).collect();
        writeln!(out, "| {flavour} | {} |", cells.join(" | "))?;
        lines.push(Line {
            label: flavour.to_string(),
            points: of_case
                .iter()
                .map(|p| (p.machines as f64, p.drawn().as_secs_f64()))
                .collect(),
        });
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/growth");
    std::fs::create_dir_all(&directory)?;
    let axis = match case {
        Case::First => "time for each unit (median)",
        _ => "time to decide (median)",
    };
    plot::draw(&directory.join(format!("{way}-{case}.svg")), &about, axis, lines)
}

/// Three digits, and the unit that fits.
pub(crate) fn words(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = match seconds {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let digits = if value < 9.995 {
        2
    } else {
        usize::from(value < 99.95)
    };
    format!("{value:.digits$} {unit}")
}

/// To whoever waits.
fn say(line: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "{line}");
}
