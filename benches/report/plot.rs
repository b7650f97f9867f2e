//! docs/performance.svg: of each row how many times the floor everybody took, on a scale on which each step is ten times the
//! one before; below it, how much of a whole upgrade the hooks have.

use std::fmt::Write as _;

use super::words::{count, percent, ratio};
use super::{Results, aims};
use crate::cleanup::Decision;
use crate::measure::{Aim, Row, Who};

/// All of them are in pixels.
const WIDTH: f64 = 800.0;
const LEFT: f64 = 236.0;
const RIGHT: f64 = 704.0;
const LINE: f64 = 19.0;

/// What it looks like, by day and by night.
const STYLE: &str = "\
    text { fill: #202124 } .small { font-size: 11px; fill: #5f6368 } .title { font-weight: bold }
    .end { text-anchor: end } .middle { text-anchor: middle }
    .paper { fill: #fff } .grid { stroke: #e3e5e8 } .floor { stroke: #5f6368 } .stem { stroke: #1a73e8; stroke-width: 2 }
    .aim { stroke: #188038; stroke-width: 2 } .rokeep { fill: #1a73e8 } .other { fill: none; stroke: #b06000; stroke-width: 1.5 }
    .second { fill: none; stroke: #5f6368; stroke-width: 1.5 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e8eaed } .small { fill: #9aa0a6 } .paper { fill: #1b1c1f } .grid { stroke: #35373b } .floor { stroke: #9aa0a6 }
      .stem { stroke: #8ab4f8 } .rokeep { fill: #8ab4f8 } .aim { stroke: #81c995 } .other { stroke: #fdd663 }
      .second { stroke: #9aa0a6 }
    }
";

/// The whole picture.
pub fn plot(results: &Results) -> String {
    let groups = groups(results);
    let mut drawing = Drawing { body: String::new(), y: 30.0 };
    drawing.text(16.0, "title", "How many times the floor each took");
    drawing.legend();
    if let Some(axis) = Axis::of(&groups) {
        drawing.axis(&axis, &groups);
        for (title, rows) in &groups {
            drawing.title(title);
            for (what, row) in rows {
                drawing.row(&axis, what, row);
            }
        }
    }
    drawing.upgrade(results);
    drawing.finished()
}

/// Rows under one title, each by what it is called there.
type Group<'a> = (&'static str, Vec<(String, &'a Row)>);

/// What has a floor.
fn groups(results: &Results) -> Vec<Group<'_>> {
    let groups = [
        ("protect", rows(&results.protect)),
        ("which aliases may go? some are held", decisions(&results.cleanup.some_held)),
        ("the same, all are held", decisions(&results.cleanup.all_held)),
        ("drop", rows(&results.drop)),
    ];
    groups.into_iter().filter(|(_, rows): &Group| !rows.is_empty()).collect()
}

fn rows(rows: &[Row]) -> Vec<(String, &Row)> {
    rows.iter().map(|row| (row.what.clone(), row)).collect()
}

fn decisions(decisions: &[Decision]) -> Vec<(String, &Row)> {
    decisions.iter().map(|decision| (decision.size(), &decision.row)).collect()
}

/// Which values there is room for: powers of ten.
struct Axis {
    least: f64,
    most: f64,
}

impl Axis {
    fn of(groups: &[Group]) -> Option<Axis> {
        let rows = groups.iter().flat_map(|(_, rows)| rows).map(|(_, row)| row);
        let ratios: Vec<f64> =
            rows.flat_map(|row| row.contestants.iter().filter_map(|one| row.ratio(one.who, Who::Floor))).collect();
        let least = ratios.iter().copied().min_by(f64::total_cmp)?;
        let most = ratios.iter().copied().max_by(f64::total_cmp)?;
        Some(Axis { least: least.log10().floor().min(-1.0), most: most.log10().ceil().max(1.0) })
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (value.log10() - self.least) / (self.most - self.least)
    }

    fn powers(&self) -> impl Iterator<Item = i32> {
        self.least as i32..=self.most as i32
    }
}

/// Drawn from above to below; `y` is the middle of the line that comes next.
struct Drawing {
    body: String,
    y: f64,
}

impl Drawing {
    fn text(&mut self, x: f64, class: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(self.body, "  <text x=\"{x:.1}\" y=\"{:.1}\" class=\"{class}\">{text}</text>", self.y + 4.0);
    }

    fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        let _ = writeln!(self.body, "  <path class=\"{class}\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>");
    }

    fn mark(&mut self, who: Who, x: f64) {
        let y = self.y;
        let _ = match who {
            Who::Floor => Ok(()),
            Who::Rokeep => writeln!(self.body, "  <circle class=\"rokeep\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"),
            Who::FloorOfAliases => {
                writeln!(self.body, "  <path class=\"second\" d=\"M{x:.1} {:.1}v14\"/>", y - 7.0)
            }
            Who::Shell => {
                writeln!(self.body, "  <path class=\"other\" d=\"M{:.1} {:.1}h9v9h-9z\"/>", x - 4.5, y - 4.5)
            }
            Who::Fuser => {
                writeln!(self.body, "  <path class=\"other\" d=\"M{:.1} {:.1}l9 9m0 -9l-9 9\"/>", x - 4.5, y - 4.5)
            }
            Who::Lsof => {
                writeln!(self.body, "  <circle class=\"other\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>")
            }
            Who::Needrestart => {
                writeln!(self.body, "  <path class=\"other\" d=\"M{x:.1} {:.1}l5 9h-10z\"/>", y - 5.0)
            }
        };
    }

    fn legend(&mut self) {
        self.y += 24.0;
        let all = [Who::Rokeep, Who::FloorOfAliases, Who::Shell, Who::Fuser, Who::Lsof, Who::Needrestart];
        let mut x = 22.0;
        for who in all {
            self.mark(who, x);
            let name = who.name();
            self.text(x + 11.0, "small", name);
            x += 34.0 + 5.8 * name.len() as f64;
        }
        self.line("aim", [x, self.y - 6.0, x, self.y + 6.0]);
        self.text(x + 8.0, "small", "aim");
        self.y += 28.0;
    }

    fn axis(&mut self, axis: &Axis, groups: &[Group]) {
        let lines: usize = groups.iter().map(|(_, rows)| 1 + rows.len()).sum();
        let (above, below) = (self.y + 8.0, self.y + 16.0 + LINE * lines as f64);
        for power in axis.powers() {
            let value = 10_f64.powi(power);
            let x = axis.x(value);
            let name = if power < 0 { value.to_string() } else { ratio(value).trim_end_matches(".00").to_owned() };
            let name = if power == 1 { "10".to_owned() } else { name };
            self.line(if power == 0 { "floor" } else { "grid" }, [x, above, x, below]);
            self.text(x, "small middle", &name);
        }
        self.text(WIDTH - 16.0, "small end", "rokeep");
        self.y += LINE;
    }

    fn title(&mut self, title: &str) {
        self.text(16.0, "small title", title);
        self.y += LINE;
    }

    fn row(&mut self, axis: &Axis, what: &str, row: &Row) {
        self.text(16.0, "small", what);
        let y = self.y;
        for aim in &row.aims {
            if let Aim::Times(times, Who::Floor) = aim {
                let x = axis.x(*times);
                self.line("aim", [x, y - 6.0, x, y + 6.0]);
            }
        }
        if let Some(rokeep) = row.ratio(Who::Rokeep, Who::Floor) {
            self.line("stem", [axis.x(1.0), y, axis.x(rokeep), y]);
            self.text(WIDTH - 16.0, "small end", &ratio(rokeep));
        }
        for contestant in row.contestants.iter().rev() {
            if let Some(ratio) = row.ratio(contestant.who, Who::Floor) {
                self.mark(contestant.who, axis.x(ratio));
            }
        }
        self.y += LINE;
    }

    fn upgrade(&mut self, results: &Results) {
        let Some(first) = results.upgrade.first() else { return };
        self.y += 26.0;
        let title = format!("How much of an upgrade of {} the hooks have", count(first.packages, "package"));
        self.text(16.0, "title", &title);
        self.y += 26.0;
        let axis = Axis { least: -4.0, most: 0.0 };
        let (above, below) = (self.y + 8.0, self.y + 12.0 + LINE * results.upgrade.len() as f64);
        for power in axis.powers() {
            let value = 10_f64.powi(power);
            self.line("grid", [axis.x(value), above, axis.x(value), below]);
            self.text(axis.x(value), "small middle", &format!("{} %", 100.0 * value));
        }
        let aim = axis.x(aims::SHARE_OF_HOOKS);
        self.line("aim", [aim, above, aim, below]);
        self.y += LINE;
        for upgrade in &results.upgrade {
            let share = upgrade.share_of_hooks();
            let x = axis.x(share.max(1e-4));
            self.text(16.0, "small", upgrade.name);
            self.mark(if upgrade.name == Who::Rokeep.name() { Who::Rokeep } else { Who::Shell }, x);
            self.text(WIDTH - 16.0, "small end", &percent(share));
            self.y += LINE;
        }
    }

    fn finished(self) -> String {
        let height = self.y + 8.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
             font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"13\" role=\"img\" aria-labelledby=\"title desc\">\n  \
             <title id=\"title\">How long rokeep takes</title>\n  \
             <desc id=\"desc\">Of each measurement how many times the floor rokeep and others took, on a logarithmic scale. The \
             tables of the page have the same numbers.</desc>\n  <style>\n{STYLE}  </style>\n  \
             <rect width=\"{WIDTH}\" height=\"{height:.0}\" rx=\"8\" class=\"paper\"/>\n{}</svg>\n",
            self.body
        )
    }
}
