//! The budget file: a line each, `name  instructions  way [- way]`.

/// What one operation may take.
pub struct Budget {
    pub name: String,
    /// The way of working that is counted.
    pub of: String,
    /// One whose count is taken off, since it is the rest of what the first does.
    pub minus: Option<String>,
    /// Instructions at most.
    pub most: f64,
}

/// All of them, in the file's order.
pub fn read() -> Vec<Budget> {
    let text = include_str!("budget.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("budget.txt: {line:?}"))).collect()
}

fn parse(line: &str) -> Option<Budget> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let most = words.next()?.parse().ok()?;
    let of = words.next()?.to_owned();
    let minus = match words.next() {
        Some("-") => Some(words.next()?.to_owned()),
        Some(_) => return None,
        None => None,
    };
    Some(Budget { name, of, minus, most })
}
