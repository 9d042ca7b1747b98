//! Texts that have the shape of a token or key: a real one, or an example. A warning, not a proof.

/// One shape: what it begins with, and whether what follows belongs to it.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) anchor: &'static str,
    fits: fn(&[u8]) -> bool,
}

impl Shape {
    /// Returns true if the shape stands between `before`, the byte in front of its anchor, and
    /// `after`, what follows it.
    ///
    /// A token begins where a word begins. So no byte is looked at twice for the same shape, in any
    /// text.
    pub(super) fn fits(&self, before: Option<u8>, after: &[u8]) -> bool {
        let begins = self.anchor.starts_with([':', '-']) || !before.is_some_and(|b| is_token(&b));
        begins && (self.fits)(after)
    }
}

/// Every shape. Those that are judged otherwise have their own anchors.
pub(super) const ALL: [Shape; 16] = [
    shape("private key", "-----BEGIN ", |after| {
        let words = run(after, 64, |b| b.is_ascii_uppercase() || *b == b' ');
        let (kind, rest) = after.split_at(words);
        (kind.ends_with(b"PRIVATE KEY") || kind.ends_with(b"PRIVATE KEY BLOCK"))
            && rest.starts_with(b"-----")
    }),
    shape("AWS key id", "AKIA", aws),
    shape("AWS key id", "ASIA", aws),
    shape("JSON Web Token", "eyJ", |after| {
        let header = run(after, 512, is_token);
        header >= 10 && after[header..].starts_with(b".eyJ")
    }),
    shape("GitHub token", "ghp_", github),
    shape("GitHub token", "gho_", github),
    shape("GitHub token", "ghu_", github),
    shape("GitHub token", "ghs_", github),
    shape("GitHub token", "ghr_", github),
    shape("GitHub token", "github_pat_", |after| {
        run(after, 128, is_token) >= 22
    }),
    shape("GitLab token", "glpat-", |after| {
        run(after, 128, is_token) >= 20
    }),
    shape("Slack token", "xoxb-", slack),
    shape("Slack token", "xoxp-", slack),
    shape("Google API key", "AIza", |after| {
        run(after, 64, is_token) == 35
    }),
    shape("npm token", "npm_", |after| run(after, 64, is_token) == 36),
    shape("password in a URL", "://", |after| {
        let user = run(after, 128, is_userinfo);
        let Some(after) = after[user..].strip_prefix(b":") else {
            return false;
        };
        let password = run(after, 256, is_userinfo);
        password > 0 && after[password..].starts_with(b"@")
    }),
];

const fn shape(name: &'static str, anchor: &'static str, fits: fn(&[u8]) -> bool) -> Shape {
    Shape { name, anchor, fits }
}

/// Length of the run of such bytes at the beginning, which is not followed further than `limit`.
fn run(text: &[u8], limit: usize, belongs: impl Fn(&u8) -> bool) -> usize {
    text.iter()
        .take(limit)
        .take_while(|byte| belongs(byte))
        .count()
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_userinfo(byte: &u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'@' | b'"' | b'\'' | b'<' | b'>')
}

fn aws(after: &[u8]) -> bool {
    run(after, 17, |b| b.is_ascii_uppercase() || b.is_ascii_digit()) == 16
        && !after.get(16).is_some_and(is_token)
}

fn github(after: &[u8]) -> bool {
    run(after, 64, u8::is_ascii_alphanumeric) == 36
}

fn slack(after: &[u8]) -> bool {
    run(after, 64, is_token) >= 20
}
