"""Letters that look alike: the pairs of Unicode TR39 of which both letters are allowed in a name (see `names`).

Taken from Unicode's `confusables.txt` (https://www.unicode.org/Public/security/), by classes: the letter before the
colon is the prototype of the letters after it.
"""
# ruff: noqa: RUF001

from __future__ import annotations

CLASSES = """
O:0ΟОՕ 2:ƧꙄꝚ 3:ƷȜЗӠꝪꞫ 5:Ƽ 6:б 8:Ȣȣ 9:Ꝯ A:ΑА a:ɑαа AA:Ꜳ aa:ꜳ AE:ÆӔ ae:æӕ AO:Ꜵ ao:ꜵ AU:Ꜷ au:ꜷ AV:ꜸꜺ
av:ꜹꜻ AY:Ꜽ ay:ꜽ B:ΒВꞴ b:ƄЬ bl:Ы C:С c:сᴄ d:ԁ dz:ʣ E:ΕЕ e:еҽꬲ F:ϜꞘ f:քẝꞙꬵ G:Ԍ g:ƍɡցᶃ H:ΗН h:һհ
i:ıɩɪιіӏꙇ J:ͿЈꞲ j:ϳј K:ΚК l:1IƖǀΙІӀ ll:ǁ lO:Ю ls:ʪ lz:ʫ M:ΜϺМ N:Ν n:ոռ o:οσоօჿᴏᴑꬽ OE:Œ oe:œ
OO:ꚘꝎ oo:ꚙꝏ P:ΡР p:ρр q:ԛգզ R:Ʀ r:гᴦꭇꭈ rn:m S:ЅՏ s:ƽѕꜱ T:ΤТ T3:Ꜩ tf:ꝷ ts:ʦ U:Ս u:ʋυսᴜꞟꭎꭒ ue:ᵫ uo:ꭣ
V:Ѵ v:νѵᴠ W:Ԝ w:ɯѡԝաᴡ X:ΧХꞳ x:х Y:ΥУҮ y:ɣʏγуүყᶌỿꭚ Z:Ζ z:ᴢ ß:βꞵ Å:Ȧ å:ȧ Ç:Ҫ ç:ҫ Ð:ĐƉ Ö:Ő ø:ꬾ Þ:Ϸ þ:ƿϸ
Ă:Ǎ ă:ǎ Ĕ:Ě ĕ:ě Ğ:Ǧ ğ:ǧ ģ:ǵ ħ:ћ Ĭ:Ǐ ĭ:ǐ ĸ:κкᴋ ņ:ɲ Ŏ:Ǒ ŏ:ǒ Ţ:Ț ţ:ƫț Ŭ:Ǔ ŭ:ǔ ƀ:ѢѣҌҍ ƃ:ƂБ ƅ:ь Ƕ:Ԋ ƚ:Ɨ ƞ:η
ƨ:ᴤꙅ ǝ:əә ȝ:ʒӡჳꝫ ȷ:յ Ɂ:ʔ ɋ:ᶐ ɍ:ғ Ɏ:Ұ ɏ:ұ Ɔ:Ͻ ɔ:ͻᴐↄ Ə:Ә Ɛ:Ԑ ɛ:εєԑꞓ ɜ:зᴈ ɢ:ԍ ɦ:ꚕ ɨ:ᵻᵼ ɰ:պ ɵ:ѳөꝋ ɸ:φф
Ʃ:Σ ʃ:ꭍ Ʌ:ΛЛ ʌ:ᴧ ʍ:мᴍ ʘ:Ꙩ ʙ:в ʚ:ꞝ ʜ:н Ͱ:Ⱶ Ͷ:И ͷ:иᴎ ͽ:ꜿ Ͽ:Ꜿ Γ:Г δ:ծẟ θ:ƟΘѲӨꝊ Π:П π:пᴨ ς:ϛ τ:тᴛ Φ:ФՓ
χ:ꭓꭕ Ψ:Ѱ ψ:ѱ ω:ꙍꞷ й:ѝ л:ᴫ я:ᴙ Є:Ꞓ љ:ꭠ Ѝ:Й Қ:Ⱪ Ҟ:Ꝁ Ң:Ⱨ Ҷ:Ӌ ҷ:ӌ Ӈ:Ӊ ӈ:ӊ ᴘ:ᴩ ṃ:ꭑ Ⴀ:Ꞇ く:𡿨 へ:ヘ イ:亻 エ:工
カ:力 タ:夕 ト:卜 ニ:二 ノ:丿 ハ:八 ロ:口囗 㖈:䎛 㘽:㦳 㩁:搉 㫚:曶 㬵:胶 㬺:幐 㬻:䐠 㮣:槩 䀹:鿃 䀿:晣 䑃:朦 䚶:訞 一:ꟷ 併:倂 値:值 啓:啟 土:士 塡:填
墫:壿 媯:嬀 帡:帲 戶:戸 晚:晩 朌:肦 朏:胐 朐:胊 朓:脁 朘:脧 朣:膧 杮:柿 榝:樧 溈:潙 研:硏 絕:絶 胼:腁 蒍:蔿 蘷:虁 訮:詽 讆:讏 豜:豣 赿:趆 跥:跺 躗:躛
軿:輧 郎:郞 鎭:鎮 隷:隸 鹂:鹃 黑:黒 Ꙍ:Ꞷ ꜧ:ꞕ ꝺ:Ꝺ
"""

PROTOTYPES: dict[int, str] = {
    ord(letter): prototype
    for prototype, _, letters in (each.partition(":") for each in CLASSES.split())
    for letter in letters
}
