from zoetrope.host import standin_ui as ui
from zoetrope.host.standin_io import FolderType

RESULT = ui.SavedResult("a.png", "sub", FolderType.output)


def test_a_saved_result_is_what_the_server_sends_of_it():
    assert RESULT == {"filename": "a.png", "subfolder": "sub", "type": "output"}
    assert (RESULT.filename, RESULT.subfolder, RESULT.type) == ("a.png", "sub", FolderType.output)


def test_holders_give_lists_as_the_server_wants_them():
    assert ui.SavedImages([RESULT]).as_dict() == {"images": [RESULT]}
    assert ui.SavedImages([RESULT], is_animated=True).as_dict() == {"images": [RESULT], "animated": (True,)}
    assert ui.SavedAudios([RESULT]).as_dict() == {"audio": [RESULT]}
    assert ui.PreviewVideo([RESULT]).as_dict() == {"images": [RESULT], "animated": (True,)}
    assert ui.PreviewText("hello").as_dict() == {"text": ("hello",)}
