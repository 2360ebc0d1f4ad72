"""Keywords of each language, as data: what the weighted n-gram match weighs five times.

Java, C# and Python are the official script's lists (JLS 3.9; the C# reference's keywords and
contextual keywords; Python 3.7's `keyword.kwlist`); it has none for other languages and stops
there. Ours are those of the languages' own references: C17, C++20, ECMAScript 2024 (reserved words,
those reserved in strict code, and the contextual ones), Go 1, PHP 8 (case as it is usually
written), Ruby 3.
"""

from __future__ import annotations

KEYWORDS: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "java": """
            abstract assert boolean break byte case catch char class const continue default do
            double else enum extends final finally float for goto if implements import instanceof
            int interface long native new package private protected public return short static
            strictfp super switch synchronized this throw throws transient try void volatile while
        """,
        "c-sharp": """
            abstract as base bool break byte case catch char checked class const continue decimal
            default delegate do double else enum event explicit extern false finally fixed float
            for foreach goto if implicit in int interface internal is lock long namespace new null
            object operator out override params private protected public readonly ref return sbyte
            sealed short sizeof stackalloc static string struct switch this throw true try typeof
            uint ulong unchecked unsafe ushort using virtual void volatile while
            add alias ascending async await by descending dynamic equals from get global group into
            join let nameof notnull on orderby partial remove select set unmanaged value var when
            where yield
        """,
        "python": """
            False None True and as assert async await break class continue def del elif else except
            finally for from global if import in is lambda nonlocal not or pass raise return try
            while with yield
        """,
        "c": """
            auto break case char const continue default do double else enum extern float for goto if
            inline int long register restrict return short signed sizeof static struct switch
            typedef union unsigned void volatile while _Alignas _Alignof _Atomic _Bool _Complex
            _Generic _Imaginary _Noreturn _Static_assert _Thread_local
        """,
        "cpp": """
            alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t
            char16_t char32_t class compl concept const consteval constexpr constinit const_cast
            continue co_await co_return co_yield decltype default delete do double dynamic_cast else
            enum explicit export extern false float for friend goto if inline int long mutable
            namespace new noexcept not not_eq nullptr operator or or_eq private protected public
            register reinterpret_cast requires return short signed sizeof static static_assert
            static_cast struct switch template this thread_local throw true try typedef typeid
            typename union unsigned using virtual void volatile wchar_t while xor xor_eq
        """,
        "javascript": """
            await break case catch class const continue debugger default delete do else enum export
            extends false finally for function if import in instanceof new null return super switch
            this throw true try typeof var void while with yield
            let static implements interface package private protected public
            as async from get of set
        """,
        "go": """
            break case chan const continue default defer else fallthrough for func go goto if import
            interface map package range return select struct switch type var
        """,
        "php": """
            __halt_compiler abstract and array as break callable case catch class clone const
            continue declare default die do echo else elseif empty enddeclare endfor endforeach
            endif endswitch endwhile eval exit extends final finally fn for foreach function global
            goto if implements include include_once instanceof insteadof interface isset list match
            namespace new or print private protected public readonly require require_once return
            static switch throw trait try unset use var while xor yield
        """,
        "ruby": """
            __ENCODING__ __LINE__ __FILE__ BEGIN END alias and begin break case class def defined?
            do else elsif end ensure false for if in module next nil not or redo rescue retry return
            self super then true undef unless until when while yield
        """,
    }.items()
}
