//! What `rokeep check --json` says, as the worlds read it.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::schema;

/// `rokeep check --json`, whole: a field that is missing, or that is not documented, is an error.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// 1.
    pub format: u32,
    /// Of rokeep.
    pub version: String,
    /// `in-place` or `not-in-place`.
    pub verdict: String,
    /// What was looked at.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What it is about.
    pub topic: String,
    /// `ok`, `attention`, `broken` or `unknown`.
    pub state: String,
    /// In words.
    pub what: String,
    /// What to do.
    pub fix: Option<Fix>,
}

/// What to do.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Fix {
    /// `command` or `advice`.
    pub kind: String,
    /// In words, or for a shell.
    pub text: String,
}

impl Check {
    /// What rokeep wrote, if it is what `docs/check.schema.json` says, and what these types say.
    pub fn read(text: &str) -> Result<Check, String> {
        schema::read("docs/check.schema.json", text)
    }

    /// The findings that are not just in order, as `topic state: what / fix`.
    pub fn wrong(&self) -> Vec<String> {
        let wrong = self.findings.iter().filter(|finding| finding.state != "ok");
        wrong
            .map(|Finding { topic, state, what, fix }| {
                let fix = fix.as_ref().map_or("nothing to do", |fix| &fix.text);
                format!("{topic} {state}: {what} / {fix}")
            })
            .collect()
    }

    /// There is exactly one thing that is not in order: of this topic and state, and its words and fix have these in them.
    #[track_caller]
    pub fn assert_only(&self, topic: &str, state: &str, says: &[&str]) {
        let wrong = self.wrong();
        let [only] = &wrong[..] else { panic!("not one thing: {wrong:#?}") };
        assert!(only.starts_with(&format!("{topic} {state}: ")), "{only}");
        says.iter().for_each(|part| assert!(only.contains(part), "{part} is not in: {only}"));
    }

    /// Among what is not in order is this.
    #[track_caller]
    pub fn assert_finds(&self, topic: &str, state: &str, says: &[&str]) {
        let wrong = self.wrong();
        let is_it = |one: &&String| {
            one.starts_with(&format!("{topic} {state}: ")) && says.iter().all(|part| one.contains(part))
        };
        assert!(wrong.iter().any(|one| is_it(&one)), "{topic} {state} {says:?}: {wrong:#?}");
    }

    /// The command that puts the one thing right that is not in order.
    #[track_caller]
    pub fn only_command(&self) -> &str {
        self.only_fix("command")
    }

    /// What is advised, where one thing is.
    pub fn only_advice(&self) -> &str {
        self.only_fix("advice")
    }

    fn only_fix(&self, kind: &str) -> &str {
        let fixes: Vec<&Fix> = self.findings.iter().filter_map(|finding| finding.fix.as_ref()).collect();
        let [fix] = &fixes[..] else { panic!("not one fix: {self:#?}") };
        assert_eq!(fix.kind, kind, "{self:#?}");
        &fix.text
    }
}
