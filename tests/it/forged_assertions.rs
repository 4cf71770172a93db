//! Assertions that are wrong in every way there is: signatures, headers, claims and times. None is taken, and what is wrong is
//! not told.

use serde_json::{Value, json};
use tollreeve::domain::time::Clock as _;
use tonic::Code;

use crate::assertions::{program, seen, whoami};
use crate::harness::{
    assertions::{Program, Signer, exchange, part},
    both,
    server::Env,
    world::World,
};

both!(whatever_is_wrong_with_an_assertion_the_answer_is_the_same);

/// Everything that an assertion can be but good: what it is, and the text.
struct Bad<'a> {
    env: &'a Env,
    cases: Vec<(String, String)>,
}

impl Bad<'_> {
    fn put(&mut self, what: impl Into<String>, text: impl Into<String>) {
        self.cases.push((what.into(), text.into()));
    }

    /// Signed rightly, with another header.
    fn header(&mut self, program: &Program, what: &str, header: impl AsRef<[u8]>) {
        self.put(what, program.signer.sign(header, program.claims(self.env).to_string()));
    }

    /// Signed rightly, with other claims.
    fn claims(&mut self, program: &Program, what: &str, claims: impl AsRef<[u8]>) {
        self.put(what, program.signer.sign(program.header().to_string(), claims));
    }

    /// Signed by nobody, or in another way.
    fn unsigned(&mut self, program: &Program) {
        let kid = program.kid();
        let claims = part(program.claims(self.env).to_string());
        for alg in ["none", "None", "NONE", "nOnE"] {
            let head = part(json!({"alg": alg, "kid": kid}).to_string());
            self.put(format!("alg {alg}"), format!("{head}.{claims}."));
            self.put(format!("alg {alg}, signed"), format!("{head}.{claims}.{}", part([7; 64])));
        }
        let head = part(json!({"alg": "HS256", "kid": kid}).to_string());
        let message = format!("{head}.{claims}");
        for secret in [program.signer.pem().into_bytes(), program.signer.public().to_vec(), kid.as_bytes().to_vec()] {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
            let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
            self.put("HS256 with what is public as the secret", format!("{message}.{}", part(tag.as_ref())));
        }
        for alg in ["EdDSA", "ES256", "ES384", "RS256", "PS256", "ES256K", "Ed25519", "es256", "eddsa", ""] {
            if alg != program.signer.alg() {
                self.header(program, &format!("alg {alg}"), json!({"alg": alg, "kid": kid}).to_string());
            }
        }
    }

    /// With a signature that is none.
    fn signatures(&mut self, program: &Program) {
        let good = program.assertion(self.env, |_| ());
        let (message, signature) = good.rsplit_once('.').expect("three parts");
        let bytes = program.signer.signature(message);
        // The order of P-256: zero by another name.
        let order = b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
                      \xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";
        let small = |last: u8| [[0; 31].as_slice(), &[last], &[0; 31], &[last]].concat();
        let mut flipped = bytes.clone();
        flipped[63] ^= 1;
        let mut front = bytes.clone();
        front[0] ^= 0x80;
        let others: [(&str, Vec<u8>); 12] = [
            ("zeros", vec![0; 64]),
            ("the order", [order.as_slice(), order].concat()),
            ("r = s = 1", small(1)),
            ("ones", vec![0xff; 64]),
            ("the identity and zero", [[1].as_slice(), &[0; 63]].concat()),
            ("in DER", der(&bytes)),
            ("cut off", bytes[..63].to_vec()),
            ("half of it", bytes[..32].to_vec()),
            ("longer", [bytes.as_slice(), &[0]].concat()),
            ("with zeros before the halves", [&[0], &bytes[..32], &[0], &bytes[32..]].concat()),
            ("its last bit flipped", flipped),
            ("its first bit flipped", front),
        ];
        for (what, other) in others {
            self.put(format!("a signature: {what}"), format!("{message}.{}", part(other)));
        }
        let stranger = if program.signer.alg() == "ES256" { Signer::p256() } else { Signer::ed25519() };
        self.put("a signature: by another key", format!("{message}.{}", part(stranger.signature(message))));
        // 64 bytes leave four bits of the last character over.
        let last = signature.chars().last().expect("a character");
        let next = char::from(if last == 'Q' { b'R' } else { u8::try_from(u32::from(last) + 1).expect("ASCII") });
        self.put("a signature: bits left over", format!("{message}.{}{next}", &signature[..signature.len() - 1]));
        self.put("a signature: none", format!("{message}."));
        for (what, text) in [
            ("padded", format!("{good}==")),
            ("a part more", format!("{good}.")),
            ("five parts", format!("{good}.{}.{}", part("x"), part("y"))),
            ("two parts", message.to_owned()),
            ("one part", part("x")),
            ("a space before", format!(" {good}")),
            ("a line break after", format!("{good}\n")),
            ("a line break in it", good.replacen('.', "\n.", 1)),
            ("in the wrong order", format!("{signature}.{message}")),
        ] {
            self.put(what, text);
        }
    }

    /// One assertion with the header or claims of another.
    fn swapped(&mut self, program: &Program, other: &Program) {
        let (mine, theirs) = (program.assertion(self.env, |_| ()), other.assertion(self.env, |_| ()));
        let (mine, theirs): (Vec<_>, Vec<_>) = (mine.split('.').collect(), theirs.split('.').collect());
        self.put("another's header", [theirs[0], mine[1], mine[2]].join("."));
        self.put("another's claims", [mine[0], theirs[1], mine[2]].join("."));
        self.put("another's signature", [mine[0], mine[1], theirs[2]].join("."));
        self.header(program, "another's kid", other.header().to_string());
        // Signed by the other, for an account that is not theirs.
        let claims = program.claims(self.env).to_string();
        self.put("by another's key for this account", other.signer.sign(other.header().to_string(), claims.clone()));
        self.put("by another's key under this kid", other.signer.sign(program.header().to_string(), claims));
    }

    fn headers(&mut self, program: &Program) {
        let (alg, kid) = (program.signer.alg(), program.kid());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": part(program.signer.public())});
        for (name, value) in [
            ("jku", json!("https://example.com/keys")),
            ("x5u", json!("https://example.com/keys")),
            ("jwk", key),
            ("x5c", json!(["MIIB"])),
            ("x5t", json!("AAAA")),
            ("crit", json!(["exp"])),
            ("b64", json!(false)),
            ("zip", json!("DEF")),
            ("cty", json!("JWT")),
            ("enc", json!("A128GCM")),
            ("typ", json!("at+jwt")),
            ("typ", json!("JWT ")),
            ("typ", json!(7)),
            ("kid", json!(format!("{kid} "))),
            ("kid", json!(kid.to_uppercase())),
            ("kid", json!("pk_00000000000000000000000000")),
            ("kid", json!("../pk")),
            ("kid", json!([kid])),
            ("kid", json!(program.key)),
        ] {
            let mut header = program.header();
            header[name] = value.clone();
            self.header(program, &format!("{name} {value}"), header.to_string());
        }
        for header in [
            format!("{{\"alg\":\"{alg}\"}}"),
            format!("{{\"kid\":\"{kid}\"}}"),
            format!("{{\"alg\":\"none\",\"alg\":\"{alg}\",\"kid\":\"{kid}\"}}"),
            format!("{{\"alg\":\"{alg}\",\"alg\":\"{alg}\",\"kid\":\"{kid}\"}}"),
            format!("{{\"alg\":\"{alg}\",\"kid\":\"{kid}\",\"kid\":\"{kid}\"}}"),
            format!("{{\"alg\":\"{alg}\",\"kid\":\"{kid}\"}} {{}}"),
            format!("[\"{alg}\",\"{kid}\",\"JWT\"]"),
            format!("\u{feff}{}", program.header()),
            "{".repeat(3_000),
            "[".repeat(3_000),
            "null".into(),
            String::new(),
        ] {
            self.header(program, &format!("header {header:.80}"), header);
        }
    }

    fn texts(&mut self, program: &Program, others: [&str; 2]) {
        let all = program.claims(self.env);
        let text = all.to_string();
        let [another, foreign] = others;
        for name in ["iss", "sub", "aud", "iat", "exp", "jti"] {
            let mut without = all.clone();
            without.as_object_mut().expect("an object").remove(name);
            self.claims(program, &format!("without {name}"), without.to_string());
            let mut null = all.clone();
            null[name] = Value::Null;
            self.claims(program, &format!("{name} null"), null.to_string());
            let twice = format!("{},\"{name}\":{}}}", &text[..text.len() - 1], all[name]);
            self.claims(program, &format!("{name} twice"), twice);
        }
        for (name, value) in [
            ("aud", json!("Tollreeve")),
            ("aud", json!("https://tollreeve")),
            ("aud", json!("")),
            ("aud", json!(["tollreeve"])),
            ("aud", json!(["tollreeve", "another"])),
            ("aud", json!({"tollreeve": true})),
            ("sub", json!(another)),
            ("iss", json!(another)),
            ("iss", json!("tollreeve")),
            ("iss", json!([program.account])),
            ("jti", json!("")),
            ("jti", json!("x".repeat(129))),
            ("jti", json!("a b")),
            ("jti", json!("a\u{0}b")),
            ("jti", json!("ä")),
            ("jti", json!(7)),
        ] {
            let mut claims = all.clone();
            claims[name] = value.clone();
            self.claims(program, &format!("{name} {value:.60}"), claims.to_string());
        }
        let nobody = [format!("{}x", program.account), "tenants/nowhere/serviceAccounts/edge".into(), "x".into()];
        for account in nobody.iter().map(String::as_str).chain([another, foreign, "", "tenants/acme"]) {
            let mut claims = all.clone();
            (claims["iss"], claims["sub"]) = (json!(account), json!(account));
            self.claims(program, &format!("of {account:?}"), claims.to_string());
        }
        let values =
            format!("[\"{0}\",\"{0}\",\"tollreeve\",{1},null,{2},\"j\"]", program.account, all["iat"], all["exp"]);
        for claims in [values, format!("{text}{text}"), "null".into(), String::new(), "{".repeat(3_000)] {
            self.claims(program, &format!("claims {claims:.60}"), claims);
        }
        self.claims(program, "claims that are no text", b"{\"iss\":\"\xff\"}");
        self.claims(program, "nested", program.assertion(self.env, |_| ()));
        let mut long = all.clone();
        long["note"] = json!("x".repeat(8_192));
        self.claims(program, "too long", long.to_string());
    }

    fn times(&mut self, program: &Program) {
        let now = self.env.clock.now().micros() / 1_000_000;
        for (iat, exp) in [
            (now - 91, now - 31),
            (now - 90, now - 30),
            (now + 31, now + 60),
            (now, now + 301),
            (now, now),
            (now + 1, now),
            (now - 30, now + 271),
            (i64::MIN, i64::MAX),
            (i64::MIN, now + 60),
            (now, i64::MAX),
            (0, 60),
            (-60, 0),
        ] {
            let text = program.assertion(self.env, |claims| (claims["iat"], claims["exp"]) = (json!(iat), json!(exp)));
            self.put(format!("from {iat} to {exp}"), text);
        }
        for (name, value) in [
            ("nbf", json!(now + 31)),
            ("nbf", json!(i64::MAX)),
            ("nbf", json!("now")),
            ("iat", json!(now.to_string())),
            ("exp", json!((now + 60).to_string())),
            ("exp", json!(1e300)),
            ("exp", json!(u64::MAX)),
            ("iat", json!(true)),
        ] {
            let text = program.assertion(self.env, |claims| claims[name] = value.clone());
            self.put(format!("{name} {value}"), text);
        }
    }
}

/// The two halves of a signature as a sequence of two numbers (RFC 3279).
fn der(signature: &[u8]) -> Vec<u8> {
    let number = |half: &[u8]| {
        let mut digits: Vec<u8> = half.iter().copied().skip_while(|byte| *byte == 0).collect();
        if digits.first().is_none_or(|first| *first > 0x7f) {
            digits.insert(0, 0);
        }
        [&[2, u8::try_from(digits.len()).expect("short")], &digits[..]].concat()
    };
    let (r, s) = signature.split_at(32);
    let body = [number(r), number(s)].concat();
    [&[0x30, u8::try_from(body.len()).expect("short")], &body[..]].concat()
}

async fn whatever_is_wrong_with_an_assertion_the_answer_is_the_same(env: &mut Env) {
    let world = World::new(env).await;
    let elsewhere = World::named(env, "globex").await;
    let foreign = program(env, &elsewhere, Signer::ed25519()).await;
    let neighbour = program(env, &world, Signer::p256()).await;
    let env = &*env;
    for signer in [Signer::ed25519(), Signer::p256()] {
        let program = program(env, &world, signer).await;
        let twin = match &program.signer {
            Signer::Ed25519(_) => Signer::ed25519(),
            Signer::P256(_) => Signer::p256(),
        };
        let twin = self::program(env, &world, twin).await;
        let mut bad = Bad { env, cases: Vec::new() };
        bad.unsigned(&program);
        bad.signatures(&program);
        bad.headers(&program);
        bad.texts(&program, [&twin.account, &foreign.account]);
        bad.times(&program);
        for other in [&twin, &neighbour, &foreign] {
            bad.swapped(&program, other);
        }
        let own = env.operator.with_token(Some(&program.sign_in(env).await.expect("a token")));
        let token = program.sign_in(env).await.expect("a token");
        bad.put("an access token", token);
        assert!(bad.cases.len() > 150, "{}", bad.cases.len());
        let books = env.books().await;
        let count = async || {
            let rows: Vec<(i64,)> =
                books.rows("SELECT COUNT(*) FROM audit_events UNION ALL SELECT COUNT(*) FROM assertions").await;
            rows
        };
        let before = count().await;
        let expected = seen(&exchange(&env.operator, "x".into()).await.expect_err("refused"));
        assert_eq!(expected.0, Code::Unauthenticated);
        for (what, text) in bad.cases {
            let status = exchange(&env.operator, text).await.expect_err(&what);
            assert_eq!(seen(&status), expected, "{what}");
        }
        assert_eq!(count().await, before, "nothing of it is on record");
        books.close().await;
        program.sign_in(env).await.expect("a good one is taken as before");
        whoami(&own, &world.tenant).await.expect("and what was given is good");
    }
}
