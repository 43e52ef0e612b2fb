//! Section `sms`: whoever sends text messages for this service.

use twinmcp_storage::accounts::TEXTS_EACH_MAX;

use super::SmsConfig;

/// Longest text of a message, in bytes: three messages of a network in one.
const TEXT_BYTES_MAX: usize = 480;
const URL_BYTES_MAX: usize = 1_024;

impl SmsConfig {
    /// What is wrong, each with its key.
    pub(super) fn wrong(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let url = reqwest::Url::parse(&self.url).is_ok_and(|url| {
            let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            let is_plain = url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none();
            is_plain && (url.scheme() == "https" || url.scheme() == "http" && is_local)
        });
        let is_off = self.url.is_empty();
        let one_secret = self.secret_file.as_os_str().is_empty() != self.secret_variable.is_empty();
        let text = self.text.len() <= TEXT_BYTES_MAX
            && self.text.contains("{code}")
            && !self.text.contains(|letter: char| letter.is_control() && letter != '\n');
        let count = |count: u32| (1..=TEXTS_EACH_MAX).contains(&count);
        let checks = [
            (
                is_off || url && self.url.len() <= URL_BYTES_MAX,
                "url",
                "must be empty, or https (http on this machine), without user and query, 1024 bytes at most",
            ),
            (
                is_off || one_secret,
                "secret_file",
                "must name a file, or the key below it a variable: one of both",
            ),
            (
                text,
                "text",
                "must have `{code}` in it, at most 480 bytes, and no control characters but `\\n`",
            ),
            (count(self.per_hour), "per_hour", "must be 1 to 1000"),
            (count(self.network_per_hour), "network_per_hour", "must be 1 to 1000"),
        ];
        checks.into_iter().filter(|(holds, _, _)| !holds).map(|(_, key, message)| (key, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_that_could_never_be_asked_is_refused_at_the_start() {
        let good = SmsConfig {
            url: "https://sms.example/send".into(),
            secret_variable: "SMS_SECRET".into(),
            ..SmsConfig::default()
        };
        let wrong = |change: &dyn Fn(&mut SmsConfig)| {
            let mut config = good.clone();
            change(&mut config);
            config.wrong().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert!(SmsConfig::default().wrong().next().is_none(), "off");
        assert!(wrong(&|_| {}).is_empty());
        assert!(wrong(&|it| it.url = "http://127.0.0.1:8025/sms".into()).is_empty());
        for (key, change) in [
            ("url", &(|it: &mut SmsConfig| it.url = "http://sms.example/".into()) as &dyn Fn(&mut SmsConfig)),
            ("url", &|it| it.url = "sms.example".into()),
            ("url", &|it| it.url = "https://me:secret@sms.example/".into()),
            ("url", &|it| it.url = "https://sms.example/?key=secret".into()),
            ("url", &|it| it.url = format!("https://sms.example/{}", "a".repeat(1_024))),
            ("secret_file", &|it| it.secret_variable.clear()),
            ("secret_file", &|it| it.secret_file = "/etc/twinmcp/sms".into()),
            ("text", &|it| it.text = "Hello".into()),
            ("text", &|it| it.text = "{code}\u{7}".into()),
            ("text", &|it| it.text = format!("{{code}}{}", "a".repeat(480))),
            ("per_hour", &|it| it.per_hour = 0),
            ("network_per_hour", &|it| it.network_per_hour = 1_001),
        ] {
            assert_eq!(wrong(change), [key]);
        }
    }
}
