//! Whether bytes are the answer to a question.

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    serialize::binary::DecodeError,
};

/// What a message from a server is.
#[derive(Debug)]
pub(super) enum Reading {
    /// The answer.
    Answer(Box<Message>),
    /// The question's id, and then what is no message.
    Unreadable(DecodeError),
    /// Somebody's guess, or an answer to another question (RFC 5452 section 9.1).
    Foreign,
}

/// Reads `bytes` as the answer to `request`. What has another id is not looked at.
pub(super) fn read(bytes: &[u8], request: &Message) -> Reading {
    if bytes.first_chunk::<2>() != Some(&request.metadata.id.to_be_bytes()) {
        return Reading::Foreign;
    }
    match Message::from_vec(bytes) {
        Ok(message)
            if message.metadata.message_type == MessageType::Response
                && (message.queries == request.queries || is_bare_failure(&message)) =>
        {
            Reading::Answer(Box::new(message))
        }
        Ok(_) => Reading::Foreign,
        Err(error) => Reading::Unreadable(error),
    }
}

/// Whether a server that fails says so without the question, as some do: with another question it is an
/// answer to that.
fn is_bare_failure(message: &Message) -> bool {
    let code = message.metadata.response_code;
    message.queries.is_empty() && code != ResponseCode::NoError && code != ResponseCode::NXDomain
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::{
        op::{OpCode, Query},
        rr::{Name, RecordType},
    };

    use super::*;

    fn query(name: &str) -> Query {
        Query::query(Name::from_ascii(name).unwrap(), RecordType::A)
    }

    #[test]
    fn only_an_answer_to_this_question_is_one() {
        let mut request = Message::query();
        request.queries.push(query("www.shop.test."));
        let id = request.metadata.id;
        let response = |id: u16, name: &str| {
            let mut message = Message::response(id, OpCode::Query);
            message.queries.push(query(name));
            message.to_vec().unwrap()
        };
        let is_answer = |bytes: &[u8]| matches!(read(bytes, &request), Reading::Answer(_));
        assert!(is_answer(&response(id, "www.shop.test.")));
        // RFC 4343: letters' case says nothing.
        assert!(is_answer(&response(id, "WWW.shop.test.")));
        let own = request.to_vec().unwrap();
        let foreign =
            [&own[..], &response(!id, "www.shop.test."), &response(id, "x.test."), b"", b"\0"];
        for bytes in foreign {
            assert!(matches!(read(bytes, &request), Reading::Foreign), "{bytes:?}");
        }
        let bare = |code| {
            let mut message = Message::response(id, OpCode::Query);
            message.metadata.response_code = code;
            message.to_vec().unwrap()
        };
        assert!(is_answer(&bare(ResponseCode::ServFail)));
        assert!(is_answer(&bare(ResponseCode::Refused)));
        assert!(!is_answer(&bare(ResponseCode::NoError)));
        assert!(!is_answer(&bare(ResponseCode::NXDomain)));
        let cut = [&id.to_be_bytes()[..], b"\x81\x80\0\x01\0\xff"].concat();
        assert!(matches!(read(&cut, &request), Reading::Unreadable(_)));
    }
}
