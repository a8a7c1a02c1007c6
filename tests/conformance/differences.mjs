// Where our parsers do otherwise than a judge, or where there is a choice, and why.

// JSONTestSuite leaves these to the implementation. Numbers keep their text, so that none is too
// large to be read; what is not Unicode text is refused, and so is what nests deeper than 64.
export const json = {
  'i_number_double_huge_neg_exp.json': 'accepted',
  'i_number_huge_exp.json': 'accepted',
  'i_number_neg_int_huge_exp.json': 'accepted',
  'i_number_pos_double_huge_exp.json': 'accepted',
  'i_number_real_neg_overflow.json': 'accepted',
  'i_number_real_pos_overflow.json': 'accepted',
  'i_number_real_underflow.json': 'accepted',
  'i_number_too_big_neg_int.json': 'accepted',
  'i_number_too_big_pos_int.json': 'accepted',
  'i_number_very_big_negative_int.json': 'accepted',
  'i_object_key_lone_2nd_surrogate.json': 'refused',
  'i_string_1st_surrogate_but_2nd_missing.json': 'refused',
  'i_string_1st_valid_surrogate_2nd_invalid.json': 'refused',
  'i_string_UTF-16LE_with_BOM.json': 'refused',
  'i_string_UTF-8_invalid_sequence.json': 'refused',
  'i_string_UTF8_surrogate_U+D800.json': 'refused',
  'i_string_incomplete_surrogate_and_escape_valid.json': 'refused',
  'i_string_incomplete_surrogate_pair.json': 'refused',
  'i_string_incomplete_surrogates_escape_valid.json': 'refused',
  'i_string_invalid_lonely_surrogate.json': 'refused',
  'i_string_invalid_surrogate.json': 'refused',
  'i_string_invalid_utf-8.json': 'refused',
  'i_string_inverted_surrogates_U+1D11E.json': 'refused',
  'i_string_iso_latin_1.json': 'refused',
  'i_string_lone_second_surrogate.json': 'refused',
  'i_string_lone_utf8_continuation_byte.json': 'refused',
  'i_string_not_in_unicode_range.json': 'refused',
  'i_string_overlong_sequence_2_bytes.json': 'refused',
  'i_string_overlong_sequence_6_bytes.json': 'refused',
  'i_string_overlong_sequence_6_bytes_null.json': 'refused',
  'i_string_truncated-utf-8.json': 'refused',
  'i_string_utf16BE_no_BOM.json': 'refused',
  'i_string_utf16LE_no_BOM.json': 'refused',
  'i_structure_500_nested_arrays.json': 'refused',
  'i_structure_UTF-8_BOM_empty_object.json': 'refused',
};

const METHOD = 'a method is any token (RFC 9110, 9.1); one that a path does not have is 405';
const FOLD = 'folded lines are refused: other parties read them otherwise (RFC 9112, 5.2)';
const HTTP09 = 'HTTP/0.9 is not spoken';
const ICE = 'ICE/1.0 is another protocol';
const CODING = 'no transfer coding but chunked is known (RFC 9112, 6.1: 501)';
const CODINGS = 'one length only, said once: several Transfer-Encoding lines are refused';

// http-parser takes more than HTTP/1.1, and knows a list of methods.
export const http = {
  'request with no http version': HTTP09,
  'line folding in header value': FOLD,
  'multiple connection header values with folding': FOLD,
  'multiple connection header values with folding and lws': FOLD,
  'source request': ICE,
  'post - multi coding transfer-encoding chunked body': CODING,
  'post - multi line coding transfer-encoding chunked body': CODINGS,
  'POST / HTTP/1.1~~Content-Length:  42~~ ~~': FOLD,
  'ASDF / HTTP/1.1~~~~': METHOD,
  'C****** / HTTP/1.1~~~~': METHOD,
  'COLA / HTTP/1.1~~~~': METHOD,
  'GEM / HTTP/1.1~~~~': METHOD,
  'GETA / HTTP/1.1~~~~': METHOD,
  'M**** / HTTP/1.1~~~~': METHOD,
  'MKCOLA / HTTP/1.1~~~~': METHOD,
  'PROPPATCHA / HTTP/1.1~~~~': METHOD,
  'PUN / HTTP/1.1~~~~': METHOD,
  'PX / HTTP/1.1~~~~': METHOD,
  'SA / HTTP/1.1~~~~': METHOD,
  'GET / HTTP/1.1~~X-SSL-Nonsense:   -----BEGIN CERTIFICATE---': FOLD,
};

const SHORTEST = 'the shortest form of a length is required (RFC 6455, 5.2)';

export const ws = {
  'framing-125-bytes-in-the-16-bit-form': SHORTEST,
  'framing-200-bytes-in-the-64-bit-form': SHORTEST,
  'framing-length-with-the-top-bit': 'no length has its top bit (RFC 6455, 5.2): a violation, not a size',
};
